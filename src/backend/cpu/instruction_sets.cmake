# Kernels are worth the longest optimisation; Highway gives each target its own flags by attributes.
set_source_files_properties(backend/cpu/kernels.cc backend/cpu/bf16_attention.cc backend/cpu/amx_attention.cc
  backend/cpu/amx_linear.cc backend/cpu/plain_linear.cc backend/cpu/avx2_linear.cc backend/cpu/vnni_linear.cc backend/host_linear.cc
  quant/weight_codec.cc quant/weight_panel.cc PROPERTIES COMPILE_OPTIONS "-O3")
# clang has no target pragma for a whole file. (The fuzz targets are built with it.)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  set_source_files_properties(backend/cpu/amx_attention.cc backend/cpu/amx_linear.cc
    PROPERTIES COMPILE_OPTIONS
    "-O3;-Wno-unknown-pragmas;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512bf16;-mbmi2;-mamx-tile;-mamx-bf16;-mamx-int8")
  set_source_files_properties(backend/cpu/bf16_attention.cc PROPERTIES COMPILE_OPTIONS
    "-O3;-Wno-unknown-pragmas;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512bf16;-mbmi2")
  set_source_files_properties(backend/cpu/avx2_linear.cc PROPERTIES COMPILE_OPTIONS
    "-O3;-Wno-unknown-pragmas;-mavx2;-mfma;-mf16c")
  set_source_files_properties(backend/cpu/vnni_linear.cc PROPERTIES COMPILE_OPTIONS
    "-O3;-Wno-unknown-pragmas;-mavx2;-mfma;-mf16c;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512vnni;-mavx512bf16")
endif()
