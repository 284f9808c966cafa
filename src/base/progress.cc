#include "base/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"

namespace kvpareto {
namespace {

// Of a line that is drawn over and over: one that wraps would leave its beginning behind. As wide as the terminal is
// now.
size_t columns_of(std::FILE* terminal) {
  winsize size{};
  return ::ioctl(::fileno(terminal), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

Progress::Progress(std::string title, double total, std::string unit, std::FILE* stream)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      total_(total),
      stream_(stream),
      terminal_(::isatty(::fileno(stream)) == 1),
      start_(Clock::now()),
      last_(start_ - std::chrono::hours(1)) {}

Progress::~Progress() {
  if (terminal_ && drawn_) std::fputs("\r\033[K", stream_);
  std::fflush(stream_);
}

std::string Progress::line(double done, const std::string& note, double elapsed) const {
  constexpr int kWidth = 24;
  const double fraction = total_ > 0 ? std::clamp(done / total_, 0.0, 1.0) : 1.0;
  const int filled = static_cast<int>(fraction * kWidth);
  const double fresh = done - skipped_;
  std::string rate, left;
  if (fresh > 0 && elapsed > 0) {
    const double per_second = fresh / elapsed;
    rate = per_second >= 1 ? fmt::format("  {:.1f} {}/s", per_second, unit_)
                           : fmt::format("  {:.1f} s/{}", 1 / per_second, unit_.substr(0, unit_.size() - 1));
    const double to_end = (total_ - done) / per_second, to_limit = limit_ - elapsed;
    left = to_end <= to_limit ? fmt::format("  {} left", human_seconds(to_end))
                              : fmt::format("  {} to the time limit", human_seconds(to_limit));
  }
  return fmt::format("{} [{}{}] {:.0f}/{:.0f} {}{}{}{}{}", title_, std::string(filled, '='),
                     std::string(kWidth - filled, ' '), std::floor(done), total_, unit_, rate, left,
                     note.empty() ? "" : "  ", note);
}

void Progress::update(double done, const std::string& note) {
  const auto now = Clock::now();
  const std::chrono::duration<double> since_last = now - last_, elapsed = now - start_;
  if (since_last.count() < (terminal_ ? 0.1 : 10.0) && done < total_) return;
  last_ = now;
  drawn_ = true;
  const std::string text = line(done, note, elapsed.count());
  fmt::print(stream_, "{}{}{}", terminal_ ? "\r\033[K" : "", terminal_ ? text.substr(0, columns_of(stream_) - 1) : text,
             terminal_ ? "" : "\n");
  std::fflush(stream_);
}

}  // namespace kvpareto
