// The real templates are rendered in tests/tokenizer_test.cc, from the model files; these are short ones of the same
// shape.
#include <gtest/gtest.h>

#include "base/error.h"
#include "text/tokenizer.h"

namespace kvpareto {
namespace {

constexpr const char* kSmollm2 =
    "{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe "
    "kind.<|im_end|>\n' }}"
    "{% endif %}{{ '<|im_start|>' + m['role'] }}...{% endfor %}";
constexpr const char* kQwen25 =
    "{%- if tools %}{{- '<|im_start|>system\\n' }}{{ messages[0]['content'] }}{% else %}{{- '<|im_start|>system\\n' + "
    "messages[0]['content'] + '<|im_end|>\\n' }}{{- '<|im_start|>system\\nBe exact.<|im_end|>\\n' }}{% endif %}"
    "{% if (message.role == \"system\" and not loop.first) %}";
constexpr const char* kChatml =
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}";
constexpr const char* kLlama3 =
    "{% set c = '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' %}"
    "{% if first %}{% set content = bos_token + content %}{% endif %}{{ content }}";
constexpr const char* kLlama31 =
    "{{- bos_token }}{%- set date_string = strftime_now(\"%d\") %}{% else %}{%- set date_string = \"1 May 2020\" %}"
    "{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}{{- \"Cutting Knowledge Date: December 2023\\n\" }}"
    "{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n'+ m.content | trim + '<|eot_id|>' }} tools";

const std::vector<Message> kQuestion = {{"user", " Why? "}};
const std::vector<Message> kTalk = {{"system", "Think."}, {"user", "Why?"}, {"assistant", "So."}, {"user", "Oh."}};

TEST(Chat, TakesTheDefaultSystemMessageFromTheTemplate) {
  EXPECT_EQ(render_chat(kSmollm2, kQuestion),
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n Why? <|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render_chat(kQwen25, kQuestion),
            "<|im_start|>system\nBe exact.<|im_end|>\n<|im_start|>user\n Why? <|im_end|>\n<|im_start|>assistant\n");
}

TEST(Chat, KeepsAGivenSystemMessage) {
  for (const char* source : {kSmollm2, kQwen25, kChatml}) {
    EXPECT_EQ(
        render_chat(source, kTalk),
        "<|im_start|>system\nThink.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nSo.<|im_end|>\n"
        "<|im_start|>user\nOh.<|im_end|>\n<|im_start|>assistant\n");
  }
}

TEST(Chat, PlainChatmlHasNoDefaultSystemMessage) {
  EXPECT_EQ(render_chat(kChatml, kQuestion), "<|im_start|>user\n Why? <|im_end|>\n<|im_start|>assistant\n");
}

TEST(Chat, Llama3TrimsAndBeginsTheText) {
  EXPECT_EQ(render_chat(kLlama3, kQuestion),
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(Chat, Llama31DatesItsSystemMessage) {
  const std::string head =
      "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday "
      "Date: 1 "
      "May 2020\n\n";
  EXPECT_EQ(render_chat(kLlama31, kQuestion), head +
                                                  "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
                                                  "<|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ(render_chat(kLlama31, std::span(kTalk).first(2)),
            head +
                "Think.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(Chat, WithoutATemplateJoinsTheContents) { EXPECT_EQ(render_chat("", kTalk), "Think.Why?So.Oh."); }

TEST(Chat, NamesTheKnownFamiliesForAnUnknownTemplate) {
  for (const std::string source : {"{{ x }}", "[INST] {{ x }} [/INST]", "<|im_start|><|im_end|><think>",
                                   "<|start_header_id|>' + r + '<|end_header_id|>\n' + c | trim + '<|eot_id|>'"}) {
    try {
      render_chat(source, kQuestion);
      FAIL() << source;
    } catch (const Error& error) {
      EXPECT_STREQ(
          error.what(),
          "the model's chat template is of no known family; known are SmolLM2, Qwen2.5, ChatML, Llama-3.1, Llama-3");
    }
  }
}

TEST(Chat, RefusesUnknownRoles) {
  const std::vector<Message> messages = {{"asistant", "x"}};
  try {
    render_chat(kChatml, messages);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "a chat message has the role 'asistant'; known are system, user, assistant (nearest: assistant)");
  }
}

}  // namespace
}  // namespace kvpareto
