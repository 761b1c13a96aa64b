# An image with the programs of preset cuda.
#
#   docker build -f tools/containers/cuda.Dockerfile -t sculpt:cuda .          # in the root of the repository
#   docker run --rm --gpus all --shm-size=1g --user "$(id -u):$(id -g)" -v "$PWD:/work" sculpt:cuda \
#       /opt/sculpt/share/sculpt/configs/quickstart.toml --device cuda --out runs/first --resume
FROM nvidia/cuda:13.0.1-cudnn-devel-ubuntu24.04 AS build
ARG SCULPT_CUDA_ARCHS="80;90"
COPY . /src
RUN /src/tools/containers/build_inside.sh build cuda /opt/sculpt

FROM nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04
COPY --from=build /opt/sculpt /opt/sculpt
RUN /opt/sculpt/share/sculpt/tools/containers/build_inside.sh runtime
# Containers may not read the memory of another process, by which ranks would exchange large messages.
ENV PATH=/opt/sculpt/bin:$PATH OMPI_MCA_btl_vader_single_copy_mechanism=none
WORKDIR /work
ENTRYPOINT ["sculpt_run"]
