#include "backend/host_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <mutex>

namespace kvpareto {
namespace {

constexpr size_t kPage = 4096, kHugePage = size_t{2} << 20;
constexpr size_t kAllAddresses = size_t{1} << 47;  // of a process: what is below does not wrap round

size_t rounded_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

char* map(size_t bytes, int protection) {
  void* data = ::mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return data == MAP_FAILED ? nullptr : static_cast<char*>(data);
}

#ifdef __SANITIZE_ADDRESS__

// Every buffer ends at a page that may not be touched: sanitizers know nothing of what mmap hands out. Sizes are
// multiples of 64 bytes, so the beginning stays aligned.
char* obtain_whole(size_t bytes) {
  char* data = map(bytes + kPage, PROT_READ | PROT_WRITE);
  if (data != nullptr) ::mprotect(data + bytes, kPage, PROT_NONE);
  return data;
}
constexpr size_t kGuard = kPage;

#else

// Buffers stand one behind another in addresses that are reserved first, so that pages of 2 MiB hold parts of several:
// the system gives such a page only where all of its addresses may be used, and whoever reads weights and caches at the
// memory's speed waits for the translation of small ones (bench/results/2026-11-30-huge-pages-xeon-2core.md). Addresses
// are not used twice, so what is handed out is zero.
class Addresses {
 public:
  char* take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (left(end_) < bytes && !reserve(bytes)) return nullptr;
    if (left(usable_) < bytes) {
      const size_t more = rounded_up(bytes - left(usable_), kHugePage);
      if (::mprotect(usable_, more, PROT_READ | PROT_WRITE) != 0) return nullptr;
      ::madvise(usable_, more, MADV_HUGEPAGE);
      usable_ += more;
    }
    next_ += bytes;
    return next_ - bytes;
  }

 private:
  // Many times what any machine holds; only what is made usable counts as memory.
  static constexpr size_t kReserved = size_t{256} << 30;

  size_t left(const char* end) const { return static_cast<size_t>(end - next_); }
  bool reserve(size_t bytes) {
    const size_t whole = std::max(kReserved, rounded_up(bytes, kHugePage));
    char* data = map(whole + kHugePage, PROT_NONE);
    if (data == nullptr) return false;
    const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(data) % kHugePage) % kHugePage;
    if (next_ != nullptr) ::munmap(next_, left(end_));
    next_ = usable_ = data + before;
    end_ = next_ + whole;
    return true;
  }

  std::mutex mutex_;
  char *next_ = nullptr, *usable_ = nullptr, *end_ = nullptr;
};

char* obtain_whole(size_t bytes) {
  static Addresses addresses;
  char* data = addresses.take(bytes);
  if (data != nullptr) return data;
  // Where addresses are limited (ulimit -v), as they come.
  data = map(bytes, PROT_READ | PROT_WRITE);
  if (data != nullptr) ::madvise(data, bytes, MADV_HUGEPAGE);
  return data;
}
constexpr size_t kGuard = 0;

#endif

}  // namespace

void* obtain_pages(size_t bytes) {
  if (bytes > kAllAddresses) return nullptr;
  const size_t whole = rounded_up(bytes, kPage);
  char* data = obtain_whole(whole);
  if (data == nullptr || kGuard == 0) return data;
  return data + whole - bytes;
}

void give_up_pages(void* data, size_t bytes) {
  const size_t whole = rounded_up(bytes, kPage);
  auto* begin = kGuard == 0 ? static_cast<char*>(data) : static_cast<char*>(data) + bytes - whole;
  ::munmap(begin, whole + kGuard);
}

}  // namespace kvpareto
