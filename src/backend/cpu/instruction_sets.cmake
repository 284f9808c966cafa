# Kernels are worth the longest optimisation; Highway gives each target its own flags by attributes.
set_source_files_properties(backend/cpu/kernels.cc backend/cpu/amx_attention.cc PROPERTIES COMPILE_OPTIONS "-O3")
