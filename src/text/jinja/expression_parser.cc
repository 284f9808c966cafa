#include <charconv>

#include "base/error.h"
#include "text/jinja/parser.h"
#include "text/unicode.h"

namespace kvpareto::jinja {
namespace {

NodePtr binary(TokenReader& reader, Kind kind, std::string text, NodePtr left, NodePtr right) {
  NodePtr node = reader.node(kind, std::move(text));
  node->children.push_back(std::move(left));
  node->children.push_back(std::move(right));
  return reader.finished(std::move(node));
}
NodePtr unary(TokenReader& reader, Kind kind, NodePtr operand) {
  NodePtr node = reader.node(kind);
  node->children.push_back(std::move(operand));
  return reader.finished(std::move(node));
}
NodePtr literal(TokenReader& reader, Value value) {
  NodePtr node = reader.node(Kind::kLiteral);
  node->value = std::move(value);
  return node;
}

NodePtr parse_unary(TokenReader& reader, bool with_filters = true);

// Positional and named arguments up to the closing bracket, whose opening one is taken.
void parse_arguments(TokenReader& reader, Node& node) {
  while (!reader.take_operator(")")) {
    if (reader.is_operator("*") || reader.is_operator("**")) {
      fail("the chat template, line {}: unpacked arguments (*) are not supported", reader.peek().line);
    }
    if (reader.is(TokenKind::kName) && reader.peek(1).kind == TokenKind::kOperator && reader.peek(1).text == "=") {
      std::string name = reader.next().text;
      reader.next();
      node.named.emplace_back(std::move(name), parse_expression(reader));
    } else {
      node.arguments.push_back(parse_expression(reader));
    }
    if (!reader.is_operator(")")) reader.expect_operator(",");
  }
}

NodePtr parse_number(TokenReader& reader) {
  const Token token = reader.next();
  const char *begin = token.text.data(), *end = begin + token.text.size();
  if (token.kind == TokenKind::kInteger) {
    int64_t number = 0;
    if (std::from_chars(begin, end, number).ec == std::errc()) return literal(reader, number);
    fail("the chat template, line {}: the number {} is too large", token.line, shown(token.text));
  }
  double number = 0;
  std::from_chars(begin, end, number);
  return literal(reader, number);
}

NodePtr parse_list(TokenReader& reader) {
  NodePtr node = reader.node(Kind::kList);
  while (!reader.take_operator("]")) {
    node->children.push_back(parse_expression(reader));
    if (!reader.is_operator("]")) reader.expect_operator(",");
  }
  return reader.finished(std::move(node));
}

NodePtr parse_dict(TokenReader& reader) {
  NodePtr node = reader.node(Kind::kDict);
  while (!reader.take_operator("}")) {
    node->children.push_back(parse_expression(reader));
    reader.expect_operator(":");
    node->children.push_back(parse_expression(reader));
    if (!reader.is_operator("}")) reader.expect_operator(",");
  }
  return reader.finished(std::move(node));
}

NodePtr parse_name(TokenReader& reader) {
  std::string name = reader.next().text;
  if (name == "true" || name == "True") return literal(reader, true);
  if (name == "false" || name == "False") return literal(reader, false);
  if (name == "none" || name == "None") return literal(reader, nullptr);
  return reader.node(Kind::kName, std::move(name));
}

NodePtr parse_primary(TokenReader& reader) {
  const Token& token = reader.peek();
  if (token.kind == TokenKind::kName) return parse_name(reader);
  if (token.kind == TokenKind::kInteger || token.kind == TokenKind::kReal) return parse_number(reader);
  if (token.kind == TokenKind::kString) {
    std::string text;
    while (reader.is(TokenKind::kString)) text += reader.next().text;  // neighbours are one string
    return literal(reader, std::move(text));
  }
  if (reader.take_operator("[")) return parse_list(reader);
  if (reader.take_operator("{")) return parse_dict(reader);
  if (reader.take_operator("(")) {
    if (reader.take_operator(")")) return literal(reader, List{});
    NodePtr node = parse_tuple(reader);
    reader.expect_operator(")");
    return node;
  }
  reader.unexpected("a value");
}

// What stands in brackets behind a value: one index, or a slice of up to three parts.
NodePtr parse_subscript(TokenReader& reader, NodePtr object) {
  std::vector<NodePtr> parts;
  bool slice = false;
  const auto at_end = [&] { return reader.is_operator(":") || reader.is_operator("]"); };
  parts.push_back(at_end() ? nullptr : parse_expression(reader));
  while (reader.take_operator(":")) {
    slice = true;
    parts.push_back(at_end() ? nullptr : parse_expression(reader));
  }
  reader.expect_operator("]");
  if (!slice && parts[0] != nullptr) return binary(reader, Kind::kItem, "", std::move(object), std::move(parts[0]));
  if (!slice || parts.size() > 3) reader.unexpected("an index");
  parts.resize(3);
  NodePtr node = reader.node(Kind::kSlice);
  node->children.push_back(std::move(object));
  for (NodePtr& part : parts) node->children.push_back(std::move(part));
  return reader.finished(std::move(node));
}

NodePtr parse_call(TokenReader& reader, NodePtr function) {
  NodePtr node = reader.node(Kind::kCall);
  node->children.push_back(std::move(function));
  parse_arguments(reader, *node);
  return reader.finished(std::move(node));
}

NodePtr parse_postfix(TokenReader& reader, NodePtr node) {
  for (;;) {
    if (reader.take_operator(".")) {
      if (reader.is(TokenKind::kInteger)) {
        node = binary(reader, Kind::kItem, "", std::move(node), parse_number(reader));
        continue;
      }
      NodePtr member = reader.node(Kind::kMember, reader.expect_name("a member's name"));
      member->children.push_back(std::move(node));
      node = reader.finished(std::move(member));
    } else if (reader.take_operator("[")) {
      node = parse_subscript(reader, std::move(node));
    } else if (reader.take_operator("(")) {
      node = parse_call(reader, std::move(node));
    } else {
      return node;
    }
  }
}

bool begins_argument(const TokenReader& reader) {
  switch (reader.peek().kind) {
    case TokenKind::kName:
      return !reader.is_name("else") && !reader.is_name("or") && !reader.is_name("and") && !reader.is_name("is") &&
             !reader.is_name("if") && !reader.is_name("in") && !reader.is_name("not");
    case TokenKind::kString:
    case TokenKind::kInteger:
    case TokenKind::kReal:
      return true;
    default:
      return reader.is_operator("(") || reader.is_operator("[") || reader.is_operator("{");
  }
}

NodePtr parse_test(TokenReader& reader, NodePtr object) {
  const bool negated = reader.take_name("not");
  NodePtr node = reader.node(Kind::kTest, reader.is_operator("==") ? reader.next().text : reader.expect_name("a test"));
  node->children.push_back(std::move(object));
  if (reader.take_operator("(")) {
    parse_arguments(reader, *node);
  } else if (begins_argument(reader)) {
    node->arguments.push_back(parse_postfix(reader, parse_primary(reader)));
  }
  node = reader.finished(std::move(node));
  return negated ? unary(reader, Kind::kNot, std::move(node)) : std::move(node);
}

// Filters, tests and calls behind a value, in any order.
NodePtr parse_behind(TokenReader& reader, NodePtr node) {
  for (;;) {
    if (reader.is_operator("|")) {
      node = parse_filters(reader, std::move(node));
    } else if (reader.take_name("is")) {
      node = parse_test(reader, std::move(node));
    } else if (reader.take_operator("(")) {
      node = parse_call(reader, std::move(node));
    } else {
      return node;
    }
  }
}

NodePtr parse_power(TokenReader& reader) {
  NodePtr left = parse_unary(reader);
  while (reader.take_operator("**"))
    left = binary(reader, Kind::kOperation, "**", std::move(left), parse_unary(reader));
  return left;
}

NodePtr parse_unary(TokenReader& reader, bool with_filters) {
  const TokenReader::Level level(reader);
  NodePtr node;
  if (reader.take_operator("-")) {
    node = unary(reader, Kind::kNegative, parse_unary(reader, false));
  } else if (reader.take_operator("+")) {
    node = parse_unary(reader, false);
  } else {
    node = parse_primary(reader);
  }
  node = parse_postfix(reader, std::move(node));
  return with_filters ? parse_behind(reader, std::move(node)) : std::move(node);
}

// Left to right, each level over the next: products, concatenation, sums.
NodePtr parse_operations(TokenReader& reader, int level) {
  static const std::vector<std::vector<std::string_view>> kLevels = {{"+", "-"}, {"~"}, {"*", "//", "/", "%"}};
  if (level == static_cast<int>(kLevels.size())) return parse_power(reader);
  NodePtr left = parse_operations(reader, level + 1);
  for (;;) {
    const std::string* found = nullptr;
    for (const std::string_view op : kLevels[static_cast<size_t>(level)]) {
      if (reader.is_operator(op)) found = &reader.peek().text;
    }
    if (found == nullptr) return left;
    std::string op = *found;
    reader.next();
    left = binary(reader, Kind::kOperation, std::move(op), std::move(left), parse_operations(reader, level + 1));
  }
}

NodePtr parse_comparison(TokenReader& reader) {
  NodePtr first = parse_operations(reader, 0);
  NodePtr node = reader.node(Kind::kComparison);
  for (;;) {
    const Token& token = reader.peek();
    const bool order =
        token.kind == TokenKind::kOperator && (token.text == "==" || token.text == "!=" || token.text == "<" ||
                                               token.text == "<=" || token.text == ">" || token.text == ">=");
    if (order) {
      node->names.push_back(reader.next().text);
    } else if (reader.take_name("in")) {
      node->names.emplace_back("in");
    } else if (reader.is_name("not") && reader.peek(1).kind == TokenKind::kName && reader.peek(1).text == "in") {
      reader.next();
      reader.next();
      node->names.emplace_back("not in");
    } else {
      break;
    }
    node->children.push_back(parse_operations(reader, 0));
  }
  if (node->children.empty()) return first;
  node->children.insert(node->children.begin(), std::move(first));
  return reader.finished(std::move(node));
}

NodePtr parse_not(TokenReader& reader) {
  const TokenReader::Level level(reader);
  if (reader.take_name("not")) return unary(reader, Kind::kNot, parse_not(reader));
  return parse_comparison(reader);
}

NodePtr parse_and(TokenReader& reader) {
  NodePtr left = parse_not(reader);
  while (reader.take_name("and")) left = binary(reader, Kind::kAnd, "", std::move(left), parse_not(reader));
  return left;
}

NodePtr parse_or(TokenReader& reader) {
  NodePtr left = parse_and(reader);
  while (reader.take_name("or")) left = binary(reader, Kind::kOr, "", std::move(left), parse_and(reader));
  return left;
}

}  // namespace

NodePtr parse_expression(TokenReader& reader, bool conditional) {
  const TokenReader::Level level(reader);
  NodePtr value = parse_or(reader);
  while (conditional && reader.take_name("if")) {
    NodePtr node = reader.node(Kind::kConditional);
    node->children.push_back(std::move(value));
    node->children.push_back(parse_or(reader));
    node->children.push_back(reader.take_name("else") ? parse_expression(reader) : nullptr);
    value = reader.finished(std::move(node));
  }
  return value;
}

NodePtr parse_tuple(TokenReader& reader, bool conditional) {
  NodePtr first = parse_expression(reader, conditional);
  if (!reader.is_operator(",")) return first;
  NodePtr node = reader.node(Kind::kList);
  node->children.push_back(std::move(first));
  while (reader.take_operator(",")) {
    if (reader.is_operator(")") || reader.is(TokenKind::kBlockEnd) || reader.is(TokenKind::kPrintEnd)) break;
    node->children.push_back(parse_expression(reader, conditional));
  }
  return reader.finished(std::move(node));
}

NodePtr parse_filters(TokenReader& reader, NodePtr node) {
  while (reader.take_operator("|")) {
    NodePtr filter = reader.node(Kind::kFilter, reader.expect_name("a filter"));
    filter->children.push_back(std::move(node));
    if (reader.take_operator("(")) parse_arguments(reader, *filter);
    node = reader.finished(std::move(filter));
  }
  return node;
}

}  // namespace kvpareto::jinja
