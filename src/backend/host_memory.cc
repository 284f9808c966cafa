#include "backend/host_memory.h"

#include <sys/mman.h>

namespace kvpareto {
namespace {

// With sanitizers every buffer ends at a page that may not be touched: they know nothing of what mmap hands out. Sizes
// are multiples of 64 bytes, so the beginning stays aligned.
#ifdef __SANITIZE_ADDRESS__
constexpr size_t kGuard = 4096;
#else
constexpr size_t kGuard = 0;
#endif
constexpr size_t kPage = 4096;

size_t whole_pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

}  // namespace

void* obtain_pages(size_t bytes) {
  const size_t whole = whole_pages(bytes) + kGuard;
  void* data = ::mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  // Pages of 2 MiB where they fit: weights are read at the memory's speed, and faults and address translation are a
  // tenth of the time otherwise.
  ::madvise(data, whole, MADV_HUGEPAGE);
  if (kGuard == 0) return data;
  auto* end = static_cast<char*>(data) + whole - kGuard;
  ::mprotect(end, kGuard, PROT_NONE);
  return end - bytes;
}

void give_up_pages(void* data, size_t bytes) {
  const size_t whole = whole_pages(bytes);
  auto* begin = kGuard == 0 ? static_cast<char*>(data) : static_cast<char*>(data) + bytes - whole;
  ::munmap(begin, whole + kGuard);
}

}  // namespace kvpareto
