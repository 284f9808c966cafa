#include "text/chat.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "text/jinja/template.h"
#include "text/unicode.h"

namespace kvpareto {
namespace {

void check_roles(std::span<const Message> messages) {
  static const std::vector<std::string> kRoles = {"system", "user", "assistant"};
  for (const Message& message : messages) {
    if (std::find(kRoles.begin(), kRoles.end(), message.role) != kRoles.end()) continue;
    fail("a chat message has the role '{}'; known are {} (nearest: {})", shown(message.role), join(kRoles, ", "),
         nearest(std::string_view(message.role).substr(0, 100), kRoles));
  }
}

}  // namespace

ChatTokens chat_tokens(const Tokenizer& tokenizer) { return {tokenizer.beginning_text(), tokenizer.end_text()}; }

std::tm default_day() {
  std::tm day{};
  day.tm_year = 124;
  day.tm_mon = 6;
  day.tm_mday = 26;
  day.tm_wday = 5;
  day.tm_yday = 207;
  return day;
}

std::string render_chat(std::string_view chat_template, std::span<const Message> messages, const ChatTokens& tokens,
                        std::tm now) {
  check_roles(messages);
  if (chat_template.empty()) {
    std::string text;
    for (const Message& message : messages) text += message.content;
    return text;
  }
  // What transformers' apply_chat_template() passes.
  jinja::List turns;
  for (const Message& message : messages)
    turns.emplace_back(jinja::Dict{{"role", message.role}, {"content", message.content}});
  jinja::Dict variables = {
      {"messages", turns}, {"tools", nullptr}, {"documents", nullptr}, {"add_generation_prompt", true}};
  if (!tokens.beginning.empty()) variables.emplace_back("bos_token", tokens.beginning);
  if (!tokens.end.empty()) variables.emplace_back("eos_token", tokens.end);
  return jinja::render(chat_template, variables, now);
}

}  // namespace kvpareto
