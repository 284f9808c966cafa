#pragma once
// Chat templates: the part of the Jinja language (jinja.palletsprojects.com) that the templates of the Llama, Mistral
// and Qwen families use, rendered as transformers configures it. Statements: if, for (with else, condition, break,
// continue), set (also as a block, and of a namespace), macro. What lies beyond is an Error that names the construct
// and its line.
//
// To add a filter, test, method or global: one row in the table of filters.cc, tests.cc, methods.cc, globals.cc.

#include <ctime>
#include <string>
#include <string_view>

#include "text/jinja/value.h"

namespace kvpareto::jinja {

// `variables` are what the template can name; `now` is the clock of strftime_now(), in local time. Throws Error
// (kFailure), one line: what cannot be read, what is not supported, or what the template itself refuses
// (raise_exception).
std::string render(std::string_view source, const Dict& variables, std::tm now);

}  // namespace kvpareto::jinja
