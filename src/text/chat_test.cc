// Templates of real models are rendered in tests/tokenizer_test.cc, from the model files.
#include "text/chat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"

namespace kvpareto {
namespace {

constexpr const char* kTemplate =
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}{% if tools %}tools{% endif %}";
const ChatTokens kTokens = {"<s>", "</s>"};
const std::vector<Message> kTalk = {{"system", "Think."}, {"user", "Why?"}, {"assistant", "So."}, {"user", "Oh."}};

TEST(Chat, GivesTemplatesWhatTransformersGives) {
  EXPECT_EQ(render_chat(kTemplate, kTalk, kTokens),
            "<s><system>Think.</s><user>Why?</s><assistant>So.</s><user>Oh.</s><assistant>");
  EXPECT_EQ(render_chat(kTemplate, {}, {}), "<assistant>") << "tokens that a model lacks are undefined";
}

TEST(Chat, HasAFixedDayUnlessToldAnother) {
  std::tm other = default_day();
  other.tm_year = 99;
  EXPECT_EQ(render_chat("{{ strftime_now('%A %d %b %Y, day %j') }}", kTalk, kTokens), "Friday 26 Jul 2024, day 208");
  EXPECT_EQ(render_chat("{{ strftime_now('%Y') }}", kTalk, kTokens, other), "1999");
}

TEST(Chat, WithoutATemplateJoinsTheContents) { EXPECT_EQ(render_chat("", kTalk, kTokens), "Think.Why?So.Oh."); }

TEST(Chat, RefusesUnknownRoles) {
  const std::vector<Message> messages = {{"asistant", "x"}};
  EXPECT_EQ(message_of([&] { render_chat(kTemplate, messages, kTokens); }),
            "a chat message has the role 'asistant'; known are system, user, assistant (nearest: assistant)");
}

}  // namespace
}  // namespace kvpareto
