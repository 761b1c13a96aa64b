# An image with the programs of preset cpu.
#
#   docker build -f tools/containers/cpu.Dockerfile -t sculpt:cpu .          # in the root of the repository
#   docker run --rm --shm-size=1g --user "$(id -u):$(id -g)" -v "$PWD:/work" sculpt:cpu \
#       /opt/sculpt/share/sculpt/configs/quickstart.toml --out runs/first --resume
FROM debian:12-slim AS build
COPY . /src
RUN /src/tools/containers/build_inside.sh build cpu /opt/sculpt

FROM debian:12-slim
COPY --from=build /opt/sculpt /opt/sculpt
RUN /opt/sculpt/share/sculpt/tools/containers/build_inside.sh runtime
# Containers may not read the memory of another process, by which ranks would exchange large messages.
ENV PATH=/opt/sculpt/bin:$PATH OMPI_MCA_btl_vader_single_copy_mechanism=none
WORKDIR /work
ENTRYPOINT ["sculpt_run"]
