# `cmake --install build/cpu --prefix FOLDER` makes a tree that can be moved, apart from the libraries of the system:
#   bin/            the programs, and beside them the modules that they load on demand
#   share/sculpt/   configs, tools and documents in the order of the repository, so that links between them hold
include(GNUInstallDirs)
install(TARGETS sculpt_run sculpt_report sculpt_bench sculpt_study RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
foreach(module sculpt_mpi sculpt_cuda sculpt_cudnn sculpt_nccl)
  if(TARGET ${module})
    install(TARGETS ${module} LIBRARY DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()

set(share ${CMAKE_INSTALL_DATADIR}/sculpt)
install(FILES README.md CHANGELOG.md LICENSE DESTINATION ${share})
install(DIRECTORY configs docs DESTINATION ${share})
# These tools work without the source code and the build.
install(DIRECTORY tools/slurm tools/containers DESTINATION ${share}/tools USE_SOURCE_PERMISSIONS)
install(PROGRAMS tools/get_data tools/eval_checkpoint.py tools/show_summary.py DESTINATION ${share}/tools)
install(FILES tools/image_data.py tools/python_packages.py tools/pytorch_models.py tools/run_folder.py
              tools/safetensors_header.py tools/safetensors_io.py tools/splits.py
        DESTINATION ${share}/tools)
