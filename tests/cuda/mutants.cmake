# Programs that test a broken kernel and must notice: the convolution's forward pass without one of
# its barriers, waits or bounds checks, or with a misaligned address of a copy that is not valid, and
# the convolutions of whole images without one of their barriers or waits.
# (tests/cuda_on_host has mutants for the thread sanitizer.)

# patched_header(FOLDER HEADER LINE REPLACEMENT): writes HEADER, a path from the repository's root,
# into FOLDER with one line replaced. LINE is the line without the blanks before it and must occur
# exactly once.
function(patched_header folder header line replacement)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${header})
  file(READ ${CMAKE_SOURCE_DIR}/${header} text)
  string(FIND "${text}" "${line}\n" first)
  string(FIND "${text}" "${line}\n" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR "tests/cuda/mutants.cmake replaces the line \"${line}\" of ${header}, which "
      "does not occur exactly once there; change the mutant together with the line")
  endif()
  string(REPLACE "${line}\n" "${replacement}\n" text "${text}")
  # An unchanged file keeps its time, so that nothing is compiled again.
  file(GENERATE OUTPUT ${folder}/${header} CONTENT "${text}")
endfunction()

add_library(conv2d_cuda_host_tests OBJECT ../support/cuda_backends.cpp)
target_link_libraries(conv2d_cuda_host_tests PRIVATE sculpt_core cuda_on_host doctest::doctest)

# conv2d_mutant(NAME HEADER LINE REPLACEMENT REPORT): the tests of convolutions with a patched HEADER
# must print REPORT.
function(conv2d_mutant mutation header line replacement report)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/mutants/${mutation})
  patched_header(${folder} ${header} "${line}" "${replacement}")
  set(kernel ${folder}/forward.cu)
  configure_file(${CMAKE_SOURCE_DIR}/kernels/cuda/conv2d/forward.cu ${kernel} COPYONLY)
  # -iquote comes before every -I, so that the patched header takes the place of the real one.
  set_source_files_properties(${kernel} PROPERTIES LANGUAGE CXX
                              COMPILE_OPTIONS "-x;c++;-iquote;${folder}")
  set(program test_conv2d_cuda_host_${mutation})
  # The kernel comes before the library, and so takes the place of the library's forward pass.
  add_executable(${program} ${kernel} ${convolution_tests})
  target_link_libraries(${program} PRIVATE conv2d_cuda_host_tests sculpt_test_main
    sculpt_test_support sculpt_core sculpt_cuda_host doctest::doctest)
  # A mutant may abort. CTest calls that a failure whatever was printed, so a shell stands between.
  add_test(NAME conv2d_cuda_host_${mutation} COMMAND sh -c "$<TARGET_FILE:${program}>; exit 1")
  set_tests_properties(conv2d_cuda_host_${mutation} PROPERTIES
    ENVIRONMENT "SCULPT_TEST_BACKEND=cuda-bf16" PASS_REGULAR_EXPRESSION "${report}")
endfunction()

# image_mutant(NAME UNIT FILE LINE): UNIT is a kernel of kernels/cuda/conv2d/image, and FILE is UNIT or
# a header that it includes. Without LINE in FILE, the tests of UNIT must fail, in one order of the
# threads at least.
function(image_mutant mutation unit file line)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/mutants/${mutation})
  set(kernels kernels/cuda/conv2d/image)
  patched_header(${folder} ${kernels}/${file} "${line}" "")
  set(kernel ${folder}/${kernels}/${unit})
  if(NOT unit STREQUAL file)
    configure_file(${CMAKE_SOURCE_DIR}/${kernels}/${unit} ${kernel} COPYONLY)
  endif()
  set_source_files_properties(${kernel} PROPERTIES LANGUAGE CXX
                              COMPILE_OPTIONS "-x;c++;-iquote;${folder}")
  set(program test_conv2d_cuda_host_${mutation})
  if(unit STREQUAL "norm_backward.cu")
    set(tests ${joint_tests})
    set(cases "conv norm: *")
  else()
    set(tests ${convolution_tests})
    set(cases "conv2d: small*")
  endif()
  add_executable(${program} ${kernel} ${tests})
  target_link_libraries(${program} PRIVATE conv2d_cuda_host_tests sculpt_test_main
    sculpt_test_support sculpt_core sculpt_cuda_host doctest::doctest)
  # The test ends with the first order that shows the fault.
  set(run "$<TARGET_FILE:${program}> -tc='${cases}'")
  add_test(NAME conv2d_cuda_host_${mutation} COMMAND sh -c
    "for order in forward reverse shuffle:1; do SCULPT_HOST_ORDER=$order ${run} || break; done; exit 1")
  set_tests_properties(conv2d_cuda_host_${mutation} PROPERTIES
    ENVIRONMENT "SCULPT_TEST_BACKEND=cuda-bf16" PASS_REGULAR_EXPRESSION "Status: FAILURE!")
endfunction()

set(gemm kernels/cuda/gemm/implicit_gemm.h)
if(NOT SCULPT_SANITIZE)
  conv2d_mutant(NO_BARRIER ${gemm}
    "__syncthreads();  // all threads see this stage and have left the one before" ""
    "Status: FAILURE!")
  conv2d_mutant(NO_CP_ASYNC_WAIT kernels/cuda/ptx.h
    "cuda_on_host::cp_async_wait<kPending>();" "" "Status: FAILURE!")
  conv2d_mutant(MISALIGNED kernels/cuda/conv2d/operands.h
    "inline constexpr int kOutside = -64;" "inline constexpr int kOutside = -1;"
    "cp.async from an address that is not a multiple of 16")
  image_mutant(IMAGE_NO_BARRIER_BEFORE_COPIES forward.cu forward.cu
    "__syncthreads();  // the zeros lie before the copies")
  image_mutant(IMAGE_NO_WAIT_FOR_COPIES forward.cu forward.cu "cp_async_wait<0>();")
  image_mutant(IMAGE_NO_BARRIER_AFTER_COPIES forward.cu forward.cu "__syncthreads();  // all threads see all copies")
  image_mutant(IMAGE_NO_BARRIER_BEFORE_SUMS forward.cu forward.cu
    "__syncthreads();  // all threads see the sums of all warps")
  image_mutant(IMAGE_GRAD_NO_BARRIER_BEFORE_COPIES weight_grad.cu weight_grad.cu
    "__syncthreads();  // the zeros lie before the copies, and all threads have left the image before")
  image_mutant(IMAGE_GRAD_NO_WAIT_FOR_COPIES weight_grad.cu weight_grad.cu "cp_async_wait<0>();")
  image_mutant(IMAGE_GRAD_NO_BARRIER_AFTER_COPIES weight_grad.cu weight_grad.cu
    "__syncthreads();  // all threads see all copies")
  image_mutant(IMAGE_GRAD_NO_BARRIER_BETWEEN_TURNS weight_grad.cu weight_sums.h
    "__syncthreads();  // all threads have left the tiles, or have seen the sums of the turn before")
  image_mutant(IMAGE_GRAD_NO_BARRIER_BEFORE_TOTALS weight_grad.cu weight_sums.h
    "__syncthreads();  // all threads see the totals")
  image_mutant(JOINT_NO_BARRIER_BEFORE_COPIES norm_backward.cu norm_backward.cu
    "__syncthreads();  // memory is prepared, and all threads have left the image before")
  image_mutant(JOINT_NO_WAIT_FOR_COPIES norm_backward.cu norm_backward.cu "cp_async_wait<0>();")
  image_mutant(JOINT_NO_BARRIER_AFTER_COPIES norm_backward.cu norm_backward.cu
    "__syncthreads();  // all threads see the image's x and dc")
  image_mutant(JOINT_NO_BARRIER_BETWEEN_TURNS norm_backward.cu weight_sums.h
    "__syncthreads();  // all threads have left the tiles, or have seen the sums of the turn before")
  image_mutant(JOINT_NO_BARRIER_BEFORE_TOTALS norm_backward.cu weight_sums.h
    "__syncthreads();  // all threads see the totals")
  image_mutant(FIRST_NO_WAIT_FOR_COPY first_layer.cu first_layer.cu "cp_async_wait<0>();")
  image_mutant(FIRST_NO_BARRIER_AFTER_COPY first_layer.cu first_layer.cu
    "__syncthreads();  // all threads see the copy and the zeros")
  image_mutant(FIRST_NO_BARRIER_AFTER_TILE first_layer.cu first_layer.cu "__syncthreads();  // all threads see the tile")
  image_mutant(FIRST_NO_BARRIER_BEFORE_SUMS first_layer.cu first_layer.cu
    "__syncthreads();  // all threads see the sums of all warps")
  image_mutant(FIRST_GRAD_NO_BARRIER_BEFORE_COPIES first_layer.cu first_layer.cu
    "__syncthreads();  // the zeros lie before the copies, and all threads have left the image before")
  image_mutant(FIRST_GRAD_NO_WAIT_FOR_COPIES first_layer.cu first_layer.cu "cp_async_wait<0>();  // x and dy")
  image_mutant(FIRST_GRAD_NO_BARRIER_AFTER_COPIES first_layer.cu first_layer.cu
    "__syncthreads();     // all threads see all copies")
  image_mutant(FIRST_GRAD_NO_BARRIER_AFTER_TILE first_layer.cu first_layer.cu
    "__syncthreads();  // all threads see the tile and dy")
  image_mutant(FIRST_GRAD_NO_BARRIER_BETWEEN_TURNS first_layer.cu weight_sums.h
    "__syncthreads();  // all threads have left the tiles, or have seen the sums of the turn before")
  image_mutant(FIRST_GRAD_NO_BARRIER_BEFORE_TOTALS first_layer.cu weight_sums.h
    "__syncthreads();  // all threads see the totals")
elseif(SCULPT_SANITIZE MATCHES address)
  conv2d_mutant(NO_BOUNDS ${gemm}
    "if (m + 16 * i + row >= work.m) continue;" "" "AddressSanitizer: heap-buffer-overflow")
endif()
