#include "text/merges.h"

#include <algorithm>
#include <bit>

namespace kvpareto {

namespace {

constexpr uint32_t kNone = ~uint32_t{0};

struct Symbol {
  int32_t token;  // -1: merged into the symbol before
  uint32_t previous, next;
};

struct Candidate {
  int32_t rank;
  uint32_t left;  // position of the left symbol
  // std::push_heap keeps the largest on top: the best rank, then the leftmost.
  bool operator<(const Candidate& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
};

uint64_t key_of(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

}  // namespace

Merges::Merges(size_t count) : table_(std::bit_ceil(2 * count + 2)) {}

size_t Merges::slot(uint64_t key) const {
  const size_t mask = table_.size() - 1;
  size_t i = (key * 0x9e3779b97f4a7c15ull >> 20) & mask;
  while (table_[i].key != kEmpty && table_[i].key != key) i = (i + 1) & mask;
  return i;
}

const Merges::Pair* Merges::find(int32_t left, int32_t right) const {
  const Pair& pair = table_[slot(key_of(left, right))];
  return pair.key == kEmpty ? nullptr : &pair;
}

void Merges::add(int32_t left, int32_t right, int32_t rank, int32_t merged) {
  const uint64_t key = key_of(left, right);
  table_[slot(key)] = {key, rank, merged};
}

void Merges::merge(std::span<const int32_t> symbols, std::vector<int32_t>& out) const {
  const auto count = static_cast<uint32_t>(symbols.size());
  std::vector<Symbol> list(count);
  std::vector<Candidate> heap;
  heap.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    list[i] = {symbols[i], i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1};
    const Pair* pair = i + 1 == count ? nullptr : find(symbols[i], symbols[i + 1]);
    if (pair) heap.push_back({pair->rank, i});
  }
  std::make_heap(heap.begin(), heap.end());
  const auto consider = [&](uint32_t left) {
    if (left == kNone || list[left].next == kNone) return;
    const Pair* pair = find(list[left].token, list[list[left].next].token);
    if (!pair) return;
    heap.push_back({pair->rank, left});
    std::push_heap(heap.begin(), heap.end());
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate best = heap.back();
    heap.pop_back();
    Symbol& left = list[best.left];
    if (left.token < 0 || left.next == kNone) continue;
    Symbol& right = list[left.next];
    const Pair* pair = find(left.token, right.token);
    if (!pair || pair->rank != best.rank) continue;  // one of the two has merged since
    left.token = pair->merged;
    right.token = -1;
    left.next = right.next;
    if (left.next != kNone) list[left.next].previous = best.left;
    consider(left.previous);
    consider(best.left);
  }
  for (const Symbol& symbol : list) {
    if (symbol.token >= 0) out.push_back(symbol.token);
  }
}

}  // namespace kvpareto
