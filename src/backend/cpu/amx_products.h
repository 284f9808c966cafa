#pragma once
// Products of decode for processors with AMX; see amx_products.cc. The table of kernels.cc puts them in.

#include "backend/cpu/tile_products.h"

namespace kvpareto {

const TileProducts& amx_products();

}  // namespace kvpareto
