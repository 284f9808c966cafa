#pragma once
// Numbers as people read them, the same in every locale.

#include <optional>
#include <string>

#include "base/statistics.h"
#include "study/measurement.h"

namespace kvpareto {

// `digits` significant digits as a plain decimal ("0.0053", "1.2", "1230"), an exponent only below 1e-6 and from 1e7.
// "-" for NaN and infinity.
std::string significant(double value, int digits);

// The same without trailing zeros, for numbers that are exact by nature (ticks, limits): "0.1", "380".
std::string trimmed(double value, int digits);

// Value and standard error with the error at one significant digit (two if it leads with 1): "0.0053 ± 0.0004". Without
// an error (exact, or unknown because there was one sample) the value alone, at three digits.
std::string with_error(const Estimate& estimate);

// A figure in the unit a person would use: bytes as "269.1 MiB", fractions as "98.3 %"; others as with_error. No unit
// is added to the others.
std::string in_words(const Figure& figure, const Estimate& estimate);

// "tokens/s", "nats/token" ... as written behind a value of in_words; empty where in_words already says it.
std::string unit_in_words(const Figure& figure);

// "-37 %", "+4 %", with the minus of typography.
std::string percent_change(double value, double baseline);

// What an error bar spans. From three samples on the 95 % interval of the mean by Student's t with samples - 1 degrees
// of freedom: with few texts the normal factor of 1.96 would promise too much. Two samples allow no such claim (t
// is 12.7); there it is one standard error either way, which is from the one to the other. None for exact figures and
// for single samples.
std::optional<Interval> error_bar(const Estimate& estimate);
// What that is in words: "95 % interval", "range of the two samples"; empty where there is none.
std::string error_bar_name(const Estimate& estimate);
// The 95 % interval of a share of successes (Wilson 1927), which stays inside [0, 1] and has a width at 0 and 1.
std::optional<Interval> share_interval95(const Estimate& estimate);

// Characters that a text of a configuration has room for: schemes of the catalogue and the usual weights stay whole, to
// be copied; those that differ by layer do not.
inline constexpr size_t kLongestScheme = 43, kLongestWeights = 28;
// Columns a terminal shows: UTF-8 characters, all of them of width one here.
size_t width_of(const std::string& text);
// The first `width` characters, the last an ellipsis if some are lost; control characters as '?'.
std::string clipped(const std::string& text, size_t width);

}  // namespace kvpareto
