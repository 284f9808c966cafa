#pragma once
// Conversations as models were trained to see them.

#include <ctime>
#include <span>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace kvpareto {

struct Message {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

// Control tokens that templates write by name; empty: none.
struct ChatTokens {
  std::string beginning, end;
};

ChatTokens chat_tokens(const Tokenizer& tokenizer);

// The day that templates see unless they are told another: a rendering repeats, and what was measured stays comparable.
// It is the one that Llama's templates name themselves where there is no clock.
std::tm default_day();  // 26 July 2024

// The conversation, ending where the assistant's answer begins. `chat_template` is the Jinja source of the model file
// (jinja/template.h says what of the language is known); Error (kFailure) names what is beyond, and says what the
// template itself refuses. What comes back holds control tokens, the one that begins a text included where the template
// writes it: encode it with `parse_special`, without `add_beginning`. An empty template gives the contents one after
// another.
std::string render_chat(std::string_view chat_template, std::span<const Message> messages, const ChatTokens& tokens,
                        std::tm now = default_day());

}  // namespace kvpareto
