#include "study/measurement_json.h"

#include <cmath>
#include <concepts>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "base/error.h"
#include "base/hash.h"

namespace kvpareto {
namespace {
using Json = nlohmann::json;

// The one list of fields. `self` is read by a Writer and filled by a Reader.
template <typename Visitor, typename Self>
void visit_fields(Visitor& visit, Self& self) {
  using T = std::remove_const_t<Self>;
  if constexpr (std::is_same_v<T, Measurement>) {
    visit.required("point", self.point);
    visit.required("state", self.state);
    visit("regime", self.regime);
    visit("reason", self.reason);
    visit("values", self.values);
    visit("texts", self.texts);
    visit("samples", self.samples);
    visit("provenance", self.provenance);
  } else if constexpr (std::is_same_v<T, Regime>) {
    visit("model", self.model);
    visit("model_hash", self.model_hash);
    visit("context", self.context);
    visit("prefill", self.prefill);
    visit("scored", self.scored);
    visit("step", self.step);
    visit("texts", self.texts);
    visit("text_hash", self.text_hash);
    visit("text_origin", self.text_origin);
    visit("order", self.order);
    visit("seed", self.seed);
    visit("reference", self.reference);
    visit("calibration", self.calibration);
  } else if constexpr (std::is_same_v<T, Provenance>) {
    visit("program", self.program);
    visit("device", self.device);
    visit("time", self.time);
    visit("seconds", self.seconds);
    visit("calibration_file", self.calibration_file);
  } else if constexpr (std::is_same_v<T, SampleResult>) {
    visit.required("sample", self.sample);
    visit("scores", self.scores);
    visit("answer", self.answer);
    visit("seconds", self.seconds);
  } else {
    static_assert(std::is_same_v<T, Estimate>);
    visit("value", self.value);
    visit("standard_error", self.standard_error);
    visit("samples", self.samples);
  }
}

template <typename T>
concept Whole = std::integral<T>;
template <typename T>
concept Record = std::same_as<T, Regime> || std::same_as<T, Provenance> || std::same_as<T, Estimate>;

class Writer {
 public:
  template <typename T>
  void operator()(const char* name, const T& value) {
    json_[name] = write(value);
  }
  template <typename T>
  void required(const char* name, const T& value) {
    (*this)(name, value);
  }

  template <typename T>
  static Json write_record(const T& record) {
    Writer writer;
    visit_fields(writer, record);
    return std::move(writer.json_);
  }

 private:
  static Json write(const std::string& text) { return text; }
  static Json write(const Point& point) { return to_text(point); }
  static Json write(State state) { return state == State::kDone ? "done" : "failed"; }
  static Json write(Whole auto number) { return number; }
  static Json write(double number) {
    if (std::isnan(number)) return nullptr;
    if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
    return number;
  }
  static Json write(const Record auto& record) { return write_record(record); }
  template <typename T>
  static Json write(const std::vector<T>& list) {
    Json json = Json::array();
    for (const T& value : list) json.push_back(write(value));
    return json;
  }
  template <typename T>
  static Json write(const std::map<std::string, T>& map) {
    Json json = Json::object();
    for (const auto& [name, value] : map) json[name] = write(value);
    return json;
  }

  Json json_ = Json::object();
};

// Text of a file on its way into a one-line message: escaped and not too long.
std::string shown(const Json& json) {
  std::string text = json.dump(-1, ' ', true);
  if (json.is_string()) text = text.substr(1, text.size() - 2);
  return text.size() <= 40 ? text : text.substr(0, 40) + "...";
}

class Reader {
 public:
  Reader(const Json& json, std::string path) : json_(json), path_(std::move(path)) {
    if (!json.is_object()) wrong("an object");
  }

  template <typename T>
  void operator()(const char* name, T& value) const {
    const auto found = json_.find(name);
    if (found != json_.end()) Reader(*found, path_ + "." + name, Any{}).read(value);
  }
  template <typename T>
  void required(const char* name, T& value) const {
    if (!json_.contains(name)) fail("{}: wanted a field \"{}\", found none", path_, name);
    (*this)(name, value);
  }

 private:
  struct Any {};  // the value need not be an object
  Reader(const Json& json, std::string path, Any) : json_(json), path_(std::move(path)) {}

  [[noreturn]] void wrong(std::string_view wanted) const {
    // Arrays and objects by kind alone: printing them recurses as deep as whoever wrote them liked.
    fail("{}: wanted {}, found {}", path_, wanted, json_.is_structured() ? json_.type_name() : shown(json_));
  }

  void read(std::string& text) const {
    if (!json_.is_string()) wrong("text");
    text = json_.get<std::string>();
  }
  void read(Point& point) const {
    std::string text;
    read(text);
    try {
      point = parse_point(text);
    } catch (const Error& error) {
      fail("{}: {}", path_, error.what());
    }
  }
  void read(State& state) const {
    if (json_ != "done" && json_ != "failed") wrong("\"done\" or \"failed\"");
    state = json_ == "done" ? State::kDone : State::kFailed;
  }
  template <Whole T>
  void read(T& number) const {
    const bool fits = json_.is_number_unsigned()  ? std::in_range<T>(json_.get<uint64_t>())
                      : json_.is_number_integer() ? std::in_range<T>(json_.get<int64_t>())
                                                  : false;
    if (!fits) wrong(fmt::format("a whole number of at most {}", std::numeric_limits<T>::max()));
    number = json_.get<T>();
  }
  void read(double& number) const {
    if (json_.is_null()) {
      number = std::numeric_limits<double>::quiet_NaN();
    } else if (json_ == "inf" || json_ == "-inf") {
      number = json_ == "inf" ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity();
    } else if (json_.is_number()) {
      number = json_.get<double>();
    } else {
      wrong("a number, null, \"inf\" or \"-inf\"");
    }
  }
  template <Record T>
  void read(T& record) const {
    Reader inside(json_, path_);
    visit_fields(inside, record);
  }
  template <typename T>
  void read(std::vector<T>& list) const {
    if (!json_.is_array()) wrong("an array");
    list.clear();
    for (const Json& value : json_) Reader(value, path_ + "[]", Any{}).read(list.emplace_back());
  }
  template <typename T>
  void read(std::map<std::string, T>& map) const {
    if (!json_.is_object()) wrong("an object");
    map.clear();
    for (const auto& [name, value] : json_.items()) Reader(value, path_ + "." + shown(name), Any{}).read(map[name]);
  }

  const Json& json_;
  std::string path_;
};

std::string one_line(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

template <typename T>
T read_record(std::string_view text, std::string_view where, const char* what) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) fail("{}: wanted {} as JSON, found something else", where, what);
  T record;
  Reader reader(json, std::string(where));
  visit_fields(reader, record);
  return record;
}

}  // namespace

std::string to_json(const Measurement& measurement) { return one_line(Writer::write_record(measurement)); }

Measurement measurement_from_json(std::string_view text, std::string_view where) {
  return read_record<Measurement>(text, where, "a measurement");
}

std::string to_json(const SampleResult& result) { return one_line(Writer::write_record(result)); }

SampleResult sample_result_from_json(std::string_view text, std::string_view where) {
  return read_record<SampleResult>(text, where, "the result of a sample");
}

std::string regime_key(const Regime& regime) {
  Json json = Writer::write_record(regime);
  const Json defaults = Writer::write_record(Regime{});
  for (const auto& [name, value] : defaults.items()) {
    if (name == "model" || json[name] == value) json.erase(name);
  }
  return fingerprint(hash_text(one_line(json)));
}

bool is_fitted(const Point& point) { return point.weights.ends_with(".awq"); }

Regime regime_of(Regime regime, const Point& point) {
  if (!is_fitted(point)) regime.calibration.clear();
  return regime;
}

std::string model_key(const Regime& regime, const Point& point) {
  const std::string calibration = regime_of(regime, point).calibration;
  return calibration.empty() ? regime.model_hash : regime.model_hash + ", " + calibration;
}

}  // namespace kvpareto
