#include "cli/options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"

namespace kvpareto {
namespace {

constexpr size_t kWidth = 100;  // of help, columns

constexpr const char* kExitCodes =
    "Exit codes: 0 done; 1 a file, model or study cannot be read, written or is not supported; 2 wrong option or "
    "value; "
    "3 not enough memory; 130 interrupted (what was measured is kept).";

// "-c/--ctx-size", as messages name an option.
std::string spoken(std::string names) {
  std::replace(names.begin(), names.end(), ',', '/');
  return names;
}

// What other programs that run models call the same.
constexpr std::pair<const char*, const char*> kElsewhere[] = {
    {"--context", "--ctx-size"},      {"--n-ctx", "--ctx-size"},         {"--max-model-len", "--ctx-size"},
    {"--kv-cache-dtype", "--kv"},     {"--batch-size", "--ubatch-size"}, {"--n-predict", "--predict"},
    {"--max-tokens", "--predict"},    {"--quantization", "--weights"},   {"--temperature", "--temp"},
    {"--max-num-seqs", "--parallel"},
};

// What a mistyped option was meant to be: one that it begins, else the one with the fewest edits.
std::string likely(const std::string& typed, const std::vector<std::string>& known) {
  const auto begun = std::find_if(known.begin(), known.end(),
                                  [&](const std::string& name) { return typed.size() > 2 && name.starts_with(typed); });
  if (begun != known.end()) return *begun;
  std::map<std::string, std::string> meant;
  for (const std::string& name : known) meant[name] = name;
  for (const auto& [elsewhere, here] : kElsewhere) {
    if (meant.contains(here)) meant.emplace(elsewhere, here);
  }
  std::vector<std::string> names;
  for (const auto& [name, unused] : meant) names.push_back(name);
  return meant.at(nearest(typed, names));
}

// Breaks a paragraph into lines at spaces.
std::string wrap(const std::string& paragraph, size_t indent) {
  std::string lines(indent, ' ');
  size_t column = indent;
  for (const std::string& word : split(paragraph, ' ')) {
    if (column > indent && column + 1 + word.size() > kWidth) {
      lines += "\n" + std::string(indent, ' ');
      column = indent;
    }
    if (column > indent) ++column, lines += ' ';
    lines += word;
    column += word.size();
  }
  return lines;
}

// The names as they are typed, what the value is, and a description that wraps.
class HelpLayout : public CLI::Formatter {
 public:
  explicit HelpLayout(const Options& options) : options_(options) {}

  std::string make_usage(const CLI::App* /*app*/, std::string name) const override {
    return fmt::format("\nUsage: {} [options]\n", name);
  }
  std::string make_group(std::string title, bool is_positional,
                         std::vector<const CLI::Option*> options) const override {
    std::string text = (title == "Options" ? "\n" : "") + title + ":\n";
    for (const CLI::Option* option : options) text += make_option(option, is_positional);
    return text;
  }
  std::string make_option(const CLI::Option* option, bool /*is_positional*/) const override {
    constexpr size_t kColumn = 32;
    const std::string long_name = option->get_name();
    const std::string names = long_name == "--help" ? "-h, --help" : options_.spelling(long_name);
    std::string line = "  " + names + (option->get_option_text().empty() ? "" : " " + option->get_option_text());
    line += line.size() + 2 > kColumn ? "\n" : std::string(kColumn - line.size(), ' ');
    const std::string description = wrap(option->get_description(), kColumn);
    return line + (line.back() == '\n' ? description : description.substr(kColumn)) + "\n";
  }

 private:
  const Options& options_;
};

std::string top_help(const std::vector<std::unique_ptr<Command>>& commands) {
  std::string text =
      "kvpareto finds what a language model's KV cache may cost: it measures how much memory each\n"
      "precision of keys and values takes and how far the model's answers drift, and keeps the best trades.\n\n"
      "Usage: kvpareto COMMAND [options]\n\nCommands:\n";
  for (const auto& command : commands) {
    text += fmt::format("  {:<13}{}\n", command->about().name, command->about().summary);
  }
  text +=
      "\n  -h, --help    this text; 'kvpareto COMMAND --help' explains one command with examples\n"
      "  --version     the program's version\n\nExamples:\n"
      "  kvpareto search -m model.gguf                          find the frontier, write a report\n"
      "  kvpareto plan -m model.gguf -c 32768 -ctk int8 -ctv int4   memory, before loading anything\n"
      "  kvpareto run -m model.gguf --kv k8v4 -p \"Hello\"        use a configuration\n\n";
  return text + wrap(kExitCodes, 0) + "\n";
}

std::string help_of(const About& about, const CLI::App& app) {
  std::string text = wrap(about.purpose, 0) + "\n" + app.help("kvpareto");
  while (text.ends_with("\n\n")) text.pop_back();
  text += "\nExamples:\n";
  for (const std::string& example : about.examples) text += "  kvpareto " + example + "\n";
  return text + "\n" + wrap(kExitCodes, 0) + "\n";
}

Command& find_command(const std::vector<std::unique_ptr<Command>>& commands, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& command : commands) {
    names.push_back(command->about().name);
    if (names.back() == name) return *command;
  }
  if (name.starts_with('-')) fail_usage("the command comes first: kvpareto COMMAND [options], found '{}'", name);
  fail_usage("there is no command '{}'; did you mean '{}'? All commands: {}", name, nearest(name, names),
             join(names, ", "));
}

}  // namespace

std::string Options::declare(const std::string& names, bool takes_value) {
  const std::vector<std::string> all = split(names, ',');
  for (const std::string& name : all) names_[name] = {all.back(), takes_value};
  spellings_[all.back()] = join(all, ", ");
  return all.back();
}

void Options::parsed(const std::string& names, const std::string& what, const std::string& help,
                     const std::function<void(const std::string&)>& parse) {
  auto* app = static_cast<CLI::App*>(app_);
  app->add_option_function<std::string>(declare(names, true), parse, help)
      ->option_text(what)
      ->group(heading_)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

void Options::flag(const std::string& names, bool& value, const std::string& help) {
  static_cast<CLI::App*>(app_)->add_flag(declare(names, false), value, help)->group(heading_);
}

void Options::text(const std::string& names, const std::string& what, std::string& value, const std::string& help) {
  const std::string shown = value.empty() ? help : fmt::format("{} [{}]", help, value);
  parsed(names, what, shown, [&value](const std::string& given) { value = given; });
}

void Options::integer(const std::string& names, int& value, Range range, const std::string& help) {
  parsed(names, "N", value == 0 ? help : fmt::format("{} [{}]", help, value),
         [names, &value, range](const auto& given) {
           value = static_cast<int>(parse_integer(spoken(names), given, range));
         });
}

void Options::seed(uint64_t& value) {
  parsed("--seed", "N", fmt::format("everything left to chance follows from this number [{}]", value),
         [&value](const std::string& given) {
           value = static_cast<uint64_t>(parse_integer("--seed", given, {0, INT64_MAX - 1}));
         });
}

void Options::number(const std::string& names, double& value, double low, double high, const std::string& help) {
  const std::string shown = value < low ? help : fmt::format("{} [{}]", help, value);
  parsed(names, "X", shown, [names, &value, low, high](const std::string& given) {
    value = parse_number(spoken(names), given, low, high);
  });
}

void Options::integers(const std::string& names, std::vector<int>& values, Range range, const std::string& help) {
  const std::string shown = values.empty() ? help : fmt::format("{} [{}]", help, fmt::join(values, ","));
  parsed(names, "LIST", shown,
         [names, &values, range](const std::string& given) { values = parse_integers(spoken(names), given, range); });
}

void Options::list(const std::string& names, const std::string& what, std::vector<std::string>& values,
                   const std::string& help) {
  const std::string shown = values.empty() ? help : fmt::format("{} [{}]", help, fmt::join(values, ","));
  parsed(names, what, shown, [names, &values](const std::string& given) { values = parse_list(spoken(names), given); });
}

void Options::choice(const std::string& names, std::string& value, const std::vector<std::string>& choices,
                     const std::string& help) {
  parsed(names, join(choices, "|"), fmt::format("{} [{}]", help, value),
         [names, &value, choices](const std::string& given) { value = parse_choice(spoken(names), given, choices); });
}

std::vector<std::string> Options::normalize(const std::string& command,
                                            const std::vector<std::string>& arguments) const {
  std::vector<std::string> normal;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const size_t equals = argument.find('=');
    const auto found = names_.find(argument.substr(0, equals));
    if (argument == "-h" || argument == "--help") {
      normal.push_back("--help");
      continue;
    }
    if (found == names_.end()) {
      std::vector<std::string> known;
      for (const auto& [name, unused] : names_) known.push_back(name);
      if (!argument.starts_with('-')) {
        fail_usage("'{}' takes options alone, found '{}'; 'kvpareto {} --help' lists them", command, argument, command);
      }
      fail_usage("'{}' has no option '{}'; did you mean '{}'? 'kvpareto {} --help' lists all", command,
                 argument.substr(0, equals), likely(argument.substr(0, equals), known), command);
    }
    const Name& name = found->second;
    if (!name.takes_value) {
      if (equals != std::string::npos) fail_usage("{} takes no value, found '{}'", name.long_name, argument);
      normal.push_back(name.long_name);
      continue;
    }
    const bool attached = equals != std::string::npos, last = i + 1 == arguments.size();
    const std::string value = attached ? argument.substr(equals + 1) : (last ? "" : arguments[++i]);
    if (value.empty()) fail_usage("{} needs a value", spelling(name.long_name));
    normal.push_back(name.long_name + "=" + value);
  }
  return normal;
}

Command* parse_command_line(const std::vector<std::unique_ptr<Command>>& commands,
                            const std::vector<std::string>& arguments, std::string& answer) {
  const std::string first = arguments.empty() ? "" : arguments.front();
  if (first.empty()) fail_usage("which command? 'kvpareto --help' lists them");
  if (first == "-h" || first == "--help" || (first == "help" && arguments.size() == 1)) {
    answer = top_help(commands);
    return nullptr;
  }
  if (first == "--version" || first == "version") {
    answer = "kvpareto " KVPARETO_VERSION "\n";
    return nullptr;
  }
  const bool asked_for_help = first == "help";
  Command& command = find_command(commands, asked_for_help ? arguments[1] : first);
  const About about = command.about();

  CLI::App app("", about.name);
  Options options(&app);
  command.declare(options);
  app.set_help_flag("--help", "this text")->group("Common options");
  app.formatter(std::make_shared<HelpLayout>(options));
  std::vector<std::string> normal = {"--help"};
  if (!asked_for_help) normal = options.normalize(about.name, {arguments.begin() + 1, arguments.end()});
  if (std::find(normal.begin(), normal.end(), "--help") != normal.end()) {
    answer = help_of(about, app);
    return nullptr;
  }
  std::reverse(normal.begin(), normal.end());  // CLI11 takes them from the end
  try {
    app.parse(normal);
  } catch (const CLI::ParseError& error) {
    fail_usage("{}", error.what());
  }
  return &command;
}

}  // namespace kvpareto
