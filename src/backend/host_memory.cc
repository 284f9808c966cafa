#include "backend/host_memory.h"

#include <sys/mman.h>

namespace kvpareto {

void* obtain_pages(size_t bytes) {
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return data == MAP_FAILED ? nullptr : data;
}

void give_up_pages(void* data, size_t bytes) { ::munmap(data, bytes); }

}  // namespace kvpareto
