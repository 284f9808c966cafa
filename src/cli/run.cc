// Text generated under a configuration.

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <iterator>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/shared_options.h"
#include "cli/study_reading.h"
#include "engine/generate.h"
#include "text/chat.h"

namespace kvpareto {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kLongPrompt = 2000;  // tokens; reading more takes seconds and shows progress

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::tm today() {
  const std::time_t now = std::time(nullptr);
  std::tm day{};
  localtime_r(&now, &day);
  return day;
}

// Prints tokens as they come, a character only when all its bytes are there.
class Stream {
 public:
  explicit Stream(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  void add(int32_t token) {
    waiting_ += tokenizer_.decode({&token, 1});
    const size_t ready = complete_utf8(waiting_);
    print_result(std::string_view(waiting_).substr(0, ready));
    waiting_.erase(0, ready);
  }
  void finish() { print_result(waiting_ + "\n"); }

 private:
  const Tokenizer& tokenizer_;
  std::string waiting_;
};

class Run : public Command {
 public:
  About about() const override {
    return {
        "run",
        "generate text under a configuration",
        "Continues a prompt, or answers it as a chat if the model has a chat template, with keys and values stored "
        "as asked. The text goes to standard output; configuration, memory and speed to standard error. If a study "
        "says that the configuration loses more than --max-loss on this model, a warning names a better one.",
        {"run -m model.gguf -p \"Why is the sky blue?\"", "run -m model.gguf --kv k8v4 -c 4096 -f question.txt -n 256",
         "run -m model.gguf -ctk q8_0 -ctv q4_0 --raw -p \"Once upon a time\" --temp 0.8 --seed 7",
         "run -m model.gguf -f - --system \"Summarize.\" < notes.txt"}};
  }

  void declare(Options& options) override {
    model_.declare(options);
    options.text("-p,--prompt", "TEXT", prompt_, "what to say to the model");
    options.text("-f,--file", "FILE", file_, "read the prompt from a file; - is standard input");
    options.text("--system", "TEXT", system_, "what the model is told before the chat");
    options.flag("--chat", chat_, "as a chat, by the model's template [if the model has one]");
    options.flag("--raw", raw_, "the prompt as it is, without a template");
    options.integer("-n,--predict", predict_, {1, kMostContext}, "most tokens to generate");
    options.integer("-c,--ctx-size", context_, kContexts,
                    "tokens the cache is allocated for [what prompt and -n need]");
    options.integer("-ub,--ubatch-size", chunk_, kChunks, "tokens of one prefill step");
    weights_.declare(options);
    model_.declare_calibration(options);
    kv_.declare(options);
    options.heading("Sampling");
    options.number("--temp", sampling_.temperature, 0, 100, "temperature; 0 always takes the likeliest token");
    options.number("--top-p", sampling_.top_p, 0, 1, "draw from the fewest tokens that have this probability");
    options.integer("--top-k", sampling_.top_k, {0, 1 << 24}, "draw from this many tokens [all]");
    options.seed(seed_);
    options.heading("Warning");
    options.text("--study", "FILE", study_,
                 "study that knows what configurations lose [kvpareto-study.db, if it is there]");
    options.number("--max-loss", max_loss_, 0, 100, "divergence in nats/token above which to warn");
    model_.declare_machine(options);
  }

  void run() override {
    if (chat_ && raw_) fail_usage("--chat and --raw contradict each other: give one");
    if (prompt_.empty() == file_.empty()) {
      fail_usage("give the prompt by -p TEXT or -f FILE{}", prompt_.empty() ? "" : ", not both");
    }
    const std::string text = file_.empty() ? prompt_ : read_prompt();
    const auto checkpoint = model_.open();
    const ModelShape shape = read_shape(*checkpoint);
    const std::vector<KvScheme> schemes = kv_.schemes(shape);
    const std::vector<WeightScheme> weights = weights_.schemes(*checkpoint, shape);
    const size_t configurations = schemes.size() * weights.size();
    if (configurations != 1)
      fail_usage("run takes one configuration, found {}; 'eval' and 'bench' take lists", configurations);
    check_context(context_, shape, model_.path);
    const LoadedModel loaded = load(model_);
    const std::vector<int32_t> tokens = encode(loaded, text);
    const SessionOptions options = {schemes.front(), context_for(tokens.size(), shape), chunk_, 1};
    warn(loaded, weights.front(), options);
    Session session(loaded.models->at(weights.front()), options);
    introduce(loaded, session);
    generate_text(loaded, session, tokens);
  }

 private:
  std::string read_prompt() const {
    if (file_ != "-") return read_file(file_);
    return {std::istreambuf_iterator<char>(std::cin), {}};
  }

  std::vector<int32_t> encode(const LoadedModel& loaded, const std::string& text) const {
    const std::string chat_template = loaded.checkpoint->vocabulary().chat_template;
    if (chat_ && chat_template.empty()) fail("{} has no chat template: leave --chat out", model_.path);
    std::vector<int32_t> tokens;
    if (raw_ || chat_template.empty()) {
      tokens = loaded.tokenizer.encode(text, false, true);
    } else {
      std::vector<Message> messages;
      if (!system_.empty()) messages.push_back({"system", system_});
      messages.push_back({"user", text});
      tokens = loaded.tokenizer.encode(render_chat(chat_template, messages, chat_tokens(loaded.tokenizer), today()),
                                       true, false);
    }
    if (tokens.empty()) fail_usage("the prompt is empty");
    return tokens;
  }

  int context_for(size_t prompt, const ModelShape& shape) const {
    const auto needed = static_cast<int64_t>(prompt) + predict_;
    check_context(needed, shape, model_.path);
    if (context_ == 0) return static_cast<int>(needed);
    if (needed > context_) {
      fail_usage("-c {} is too short for a prompt of {} tokens and -n {}: {} are needed", context_, prompt, predict_,
                 needed);
    }
    return context_;
  }

  void warn(const LoadedModel& loaded, const WeightScheme& weights, const SessionOptions& options) const {
    if (study_.empty() && !std::filesystem::exists(kDefaultStudy)) return;
    const Study study = open_existing_study(study_.empty() ? kDefaultStudy : study_);
    const std::string warning =
        warning_of_loss(study, fingerprint(loaded.models->fingerprint()),
                        {to_text(weights), to_text(options.scheme), options.chunk}, options.context, max_loss_);
    const bool colour = isatty(STDERR_FILENO) == 1;
    if (!warning.empty()) note("{}{}{}", colour ? "\033[1;31m" : "", warning, colour ? "\033[0m" : "");
  }

  void introduce(const LoadedModel& loaded, const Session& session) const {
    const Model& model = session.model();
    const KvScheme& scheme = session.options().scheme;
    const MemoryParts bytes = session.bytes();
    note("{}, {}, weights {} (stored as {}), KV {} ({:.2f} bits/value), {}", model.file, model.shape.family,
         to_text(model.weights.scheme), model.stored_as, to_text(scheme),
         effective_bits(scheme, session.cache().shape()), device_text(*loaded.backend));
    note("memory {} = weights {} + KV {} + scratch {} + logits {} for {} tokens in chunks of {}",
         human_bytes(static_cast<double>(bytes.total())), human_bytes(static_cast<double>(bytes.weights)),
         human_bytes(static_cast<double>(bytes.kv)), human_bytes(static_cast<double>(bytes.scratch)),
         human_bytes(static_cast<double>(bytes.logits)), session.options().context, session.options().chunk);
  }

  // All but the prompt's last token, which generate() continues from.
  void read(Session& session, std::span<const int32_t> prompt) const {
    Progress progress("reading the prompt", static_cast<double>(prompt.size()), "tokens");
    session.prefill(prompt, [&](int64_t done) {
      if (interrupted()) throw Error(Exit::kInterrupted, "interrupted while reading the prompt");
      if (prompt.size() > kLongPrompt) progress.update(static_cast<double>(done));
    });
  }

  void generate_text(const LoadedModel& loaded, Session& session, const std::vector<int32_t>& prompt) const {
    const std::span<const int32_t> all(prompt), before = all.first(prompt.size() - 1);
    const auto start = Clock::now();
    if (!before.empty()) read(session, before);
    const double reading = seconds_since(start);
    Stream stream(loaded.tokenizer);
    Random random(seed_);
    int64_t generated = 0;
    const auto answer = Clock::now();
    generate(session, all.last(1), predict_, sampling_, random, [&](int32_t token) {
      ++generated;
      if (loaded.tokenizer.is_end(token) || interrupted()) return false;
      stream.add(token);
      return true;
    });
    const double writing = seconds_since(answer);
    stream.finish();
    note("prompt of {} tokens read at {:.1f} tokens/s, {} tokens generated at {:.1f} tokens/s", prompt.size(),
         before.empty() ? 0.0 : static_cast<double>(before.size()) / reading, generated,
         static_cast<double>(generated) / writing);
    if (interrupted()) throw Error(Exit::kInterrupted, "");
  }

  ModelOptions model_;
  WeightOptions weights_;
  KvOptions kv_;
  Sampling sampling_;
  std::string prompt_, file_, system_, study_;
  bool chat_ = false, raw_ = false;
  int predict_ = 128, context_ = 0, chunk_ = 256;
  uint64_t seed_ = 1;
  double max_loss_ = kDefaultMaxLoss;
};

}  // namespace

std::unique_ptr<Command> make_run() { return std::make_unique<Run>(); }

}  // namespace kvpareto
