#include "backend/cpu/amx_tiles.h"

#include <sys/syscall.h>
#include <unistd.h>

namespace kvpareto {

bool amx_allowed() {
  // Linux hands out the tile registers on request (arch_prctl ARCH_REQ_XCOMP_PERM, feature 18).
  constexpr long kRequest = 0x1023, kTileData = 18;
  unsigned a = 7, b = 0, c = 0, d = 0;
  __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  constexpr unsigned kAmx = 1u << 22 | 1u << 24;  // bf16, tiles
  if ((d & kAmx) != kAmx) return false;
  return ::syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

}  // namespace kvpareto
