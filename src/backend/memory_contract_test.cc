// Memory of every backend, reference included, and how backends are named.

#include <limits>

#include "backend/contract.h"
#include "base/testing.h"

namespace kvpareto {
namespace {

class Memory : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Backend> backend_ = make_backend(GetParam());
};

TEST_P(Memory, IsCountedByPurposeZeroedAlignedAndFreed) {
  for (int kind = 0; kind < kPurposes; ++kind) {
    const auto purpose = static_cast<Purpose>(kind);
    {
      Buffer first = backend_->allocate(1, purpose);
      const Buffer second = backend_->allocate(100000, purpose);
      EXPECT_EQ(first.bytes(), 64u);
      EXPECT_EQ(second.bytes(), 100032u);
      for (int other = 0; other < kPurposes; ++other) {
        EXPECT_EQ(backend_->allocated(static_cast<Purpose>(other)), other == kind ? 100096u : 0u);
      }
      for (const Buffer* buffer : std::initializer_list<const Buffer*>{&first, &second}) {
        EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0u);
        const auto* bytes = buffer->as<uint8_t>();
        EXPECT_TRUE(std::all_of(bytes, bytes + buffer->bytes(), [](uint8_t byte) { return byte == 0; }));
        std::memset(buffer->data(), 0xff, buffer->bytes());
      }
      Buffer moved = std::move(first);
      EXPECT_EQ(backend_->allocated(purpose), 100096u);
      moved = Buffer();
      EXPECT_EQ(backend_->allocated(purpose), 100032u);
      // What was freed and comes back must not show what it held.
      const Buffer again = backend_->allocate(64, purpose);
      EXPECT_EQ(again.as<uint8_t>()[0], 0);
    }
    EXPECT_EQ(backend_->allocated(purpose), 0u);
  }
}

TEST_P(Memory, NothingIsNothing) {
  const Buffer buffer = backend_->allocate(0, Purpose::kKv);
  EXPECT_EQ(buffer.bytes(), 0u);
  EXPECT_EQ(backend_->allocated(Purpose::kKv), 0u);
}

TEST_P(Memory, OutOfMemoryIsAnErrorThatNamesPurposeAndSize) {
  const Buffer held = backend_->allocate(3 << 20, Purpose::kWeights);
  for (const size_t bytes : {size_t{1} << 60, std::numeric_limits<size_t>::max()}) {
    const auto error = error_of([&] { backend_->allocate(bytes, Purpose::kKv); });
    ASSERT_TRUE(error) << bytes;
    EXPECT_EQ(error->exit(), Exit::kNoMemory);
    const std::string message = error->what();
    EXPECT_NE(message.find("KV cache: wanted"), std::string::npos) << message;
    EXPECT_NE(message.find("3.00 MiB of weights"), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
    EXPECT_EQ(backend_->allocated(Purpose::kKv), 0u);
  }
}

TEST_P(Memory, LinearsAreWeightsOfTheStatedSize) {
  const RowReader zeros = [](int64_t, int64_t count, float* out) { std::fill_n(out, count * 48, 0.0f); };
  const std::vector<float> bias(40, 1.0f);
  {
    const auto plain = backend_->make_linear(40, 48, zeros, {}), biased = backend_->make_linear(40, 48, zeros, bias);
    EXPECT_EQ(plain->bytes(), backend_->linear_bytes(bf16_spec(40, 48, false)));
    EXPECT_EQ(biased->bytes(), backend_->linear_bytes(bf16_spec(40, 48, true)));
    EXPECT_EQ(backend_->allocated(Purpose::kWeights), plain->bytes() + biased->bytes());
  }
  EXPECT_EQ(backend_->allocated(Purpose::kWeights), 0u);
}

INSTANTIATE_TEST_SUITE_P(Backends, Memory, testing::ValuesIn(backend_names()), [](const auto& i) { return i.param; });

TEST(BackendNames, ReferenceFirstBestLastAllCanBeMade) {
  const std::vector<std::string> names = backend_names();
  ASSERT_GE(names.size(), 2u);
  EXPECT_EQ(names[0], "reference");
  EXPECT_EQ(names[1], "portable");
  for (const std::string& name : names) EXPECT_TRUE(make_backend(name)->name().ends_with(name));
  EXPECT_EQ(make_backend("auto")->name(), make_backend(names.back())->name());
  EXPECT_EQ(make_backend("")->name(), make_backend(names.back())->name());
}

TEST(BackendNames, WrongNameGetsTheNearest) {
  const auto error = error_of([] { make_backend("portabel"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->exit(), Exit::kUsage);
  EXPECT_NE(std::string(error->what()).find("did you mean portable?"), std::string::npos) << error->what();
}

TEST(BackendNames, DeviceTextNamesBackendAndThreads) {
  const std::string text = device_text(reference());
  EXPECT_NE(text.find(", reference, "), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with(" threads")) << text;
}

}  // namespace
}  // namespace kvpareto
