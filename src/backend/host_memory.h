#pragma once
// Memory of the machine's own: whole pages from the system, so that what is freed leaves the process at once and the
// process's peak is the peak of what was held, but for the rest of the last page of 2 MiB.

#include <cstddef>

namespace kvpareto {

void* obtain_pages(size_t bytes);  // zeroed; null if there are none
void give_up_pages(void* data, size_t bytes);

}  // namespace kvpareto
