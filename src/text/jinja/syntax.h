#pragma once
// A template as a tree.

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace kvpareto::jinja {

enum class Kind {
  // expressions
  kLiteral,   // value
  kName,      // text
  kList,      // children
  kDict,      // children: name, value, name, value, ...
  kMember,    // text of child 0, as in a.b
  kItem,      // child 0 [child 1]
  kSlice,     // child 0 [child 1 : child 2 : child 3], null where left out
  kCall,      // child 0 (arguments)
  kFilter,    // child 0 | text(arguments)
  kTest,      // child 0 is text(arguments)
  kNot,       // not child 0
  kNegative,  // - child 0
  kAnd,
  kOr,           // of children 0 and 1
  kOperation,    // text of children 0 and 1: + - * / // % ** ~
  kComparison,   // child 0, then children 1, 2, ... each behind an operator in `names`
  kConditional,  // child 0 if child 1 else child 2 (which may be null)
  // statements
  kText,       // text
  kPrint,      // child 0
  kIf,         // child 0: body, else other
  kFor,        // names in child 0, child 1 the condition or null: body, where there was none: other
  kSet,        // names = child 0
  kSetBlock,   // names[0] = what body prints, through child 0 (a chain of filters) if there is one
  kSetMember,  // names[0].names[1] = child 0
  kMacro,      // text(names, with named as defaults): body
  kBreak,
  kContinue
};

struct Node {
  Kind kind = Kind::kText;
  int line = 0;
  int depth = 1;  // of nodes inside each other
  std::string text = {};
  Value value = {};
  std::vector<std::string> names = {};
  std::vector<std::unique_ptr<Node>> children = {};
  // Of calls, filters and tests; of a macro its defaults.
  std::vector<std::unique_ptr<Node>> arguments = {};
  std::vector<std::pair<std::string, std::unique_ptr<Node>>> named = {};
  std::vector<std::unique_ptr<Node>> body = {}, other = {};
};
using NodePtr = std::unique_ptr<Node>;

// Throws Error (kFailure): what cannot be read, or a construct beyond what this program knows, by name and line.
std::vector<NodePtr> parse(std::string_view source);

}  // namespace kvpareto::jinja
