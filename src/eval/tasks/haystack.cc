#include "eval/tasks/haystack.h"

#include <array>
#include <span>

#include "base/error.h"

namespace kvpareto {
namespace {

using Words = std::span<const std::string_view>;

constexpr std::array<std::string_view, 32> kNames = {
    "Marta",  "Oskar",   "Ilse",   "Benedict", "Joan",   "Tobias", "Clara",  "Edmund", "Rosa",    "Viktor", "Hanna",
    "Samuel", "Beatrix", "Anton",  "Lydia",    "Pavel",  "Greta",  "Hugo",   "Sybil",  "Roland",  "Amalia", "Conrad",
    "Nora",   "Felix",   "Judith", "Leopold",  "Teresa", "Walter", "Agatha", "Simon",  "Ottilie", "Martin"};
constexpr std::array<std::string_view, 28> kTrades = {
    "baker",    "miller",    "ferryman", "schoolteacher", "clockmaker", "gardener",  "carpenter",
    "postman",  "physician", "weaver",   "librarian",     "shepherd",   "innkeeper", "blacksmith",
    "organist", "beekeeper", "surveyor", "cobbler",       "fisherman",  "printer",   "glazier",
    "cooper",   "mason",     "tailor",   "brewer",        "potter",     "saddler",   "apothecary"};
constexpr std::array<std::string_view, 32> kPlaces = {
    "the market square",   "the old bridge",    "the mill pond",   "the north gate",
    "the harbour",         "the town hall",     "the chapel",      "the orchard",
    "the railway station", "the river bank",    "the library",     "the upper meadow",
    "the tannery",         "the inn",           "the schoolhouse", "the lower street",
    "the quarry",          "the vineyard",      "the post office", "the lighthouse",
    "the birch wood",      "the brickyard",     "the common",      "the boathouse",
    "the granary",         "the cemetery wall", "the water tower", "the ropewalk",
    "the hospital",        "the fairground",    "the east road",   "the fish market"};
constexpr std::array<std::string_view, 36> kThings = {
    "lantern", "ledger",    "cart",   "ladder",   "letter",   "violin", "kettle",  "map",    "basket",
    "clock",   "saddle",    "barrel", "mirror",   "umbrella", "chair",  "blanket", "stove",  "bell",
    "almanac", "shovel",    "trunk",  "painting", "plough",   "teapot", "coat",    "ring",   "spade",
    "bicycle", "telescope", "loom",   "cupboard", "notebook", "wheel",  "candle",  "hammer", "fishing net"};
constexpr std::array<std::string_view, 32> kQualities = {
    "heavy",   "narrow",   "faded",   "handsome", "borrowed", "broken",  "polished", "crooked",
    "sturdy",  "curious",  "plain",   "dusty",    "costly",   "painted", "wooden",   "brass",
    "worn",    "familiar", "modest",  "odd",      "green",    "grey",    "silent",   "damp",
    "ancient", "new",      "slender", "simple",   "splendid", "yellow",  "rusty",    "quiet"};
constexpr std::array<std::string_view, 26> kTimes = {"early in the morning",
                                                     "before noon",
                                                     "late in the evening",
                                                     "on market day",
                                                     "in the first week of spring",
                                                     "after the long frost",
                                                     "during the harvest",
                                                     "when the rain stopped",
                                                     "at the end of summer",
                                                     "on the following day",
                                                     "in those years",
                                                     "towards midnight",
                                                     "after supper",
                                                     "while the river was high",
                                                     "some weeks later",
                                                     "in the autumn",
                                                     "on a windy Sunday",
                                                     "just before the fair",
                                                     "during the dry season",
                                                     "in the winter of the great snow",
                                                     "one afternoon",
                                                     "at dawn",
                                                     "as usual",
                                                     "for the third time",
                                                     "without any hurry",
                                                     "against all advice"};
constexpr std::array<std::string_view, 30> kDeeds = {
    "mended",   "sold",     "carried away", "forgot",    "lent out",   "painted",   "measured",     "borrowed",
    "admired",  "hid",      "cleaned",      "described", "looked for", "gave away", "weighed",      "bought",
    "returned", "dropped",  "inherited",    "sketched",  "repaired",   "praised",   "dragged home", "noticed",
    "packed",   "restored", "misplaced",    "ordered",   "examined",   "kept"};
constexpr std::array<std::string_view, 24> kMoods = {
    "patience", "pride",  "doubt",   "relief",   "good humour", "regret",    "care",     "surprise",
    "envy",     "zeal",   "caution", "delight",  "impatience",  "suspicion", "kindness", "indifference",
    "courage",  "sorrow", "hope",    "mistrust", "amusement",   "gratitude", "modesty",  "shame"};
constexpr std::array<std::string_view, 24> kWeather = {"a cold wind",
                                                       "thin fog",
                                                       "heavy rain",
                                                       "the first snow",
                                                       "a warm haze",
                                                       "thunder",
                                                       "pale sunlight",
                                                       "a sudden hail",
                                                       "the smell of hay",
                                                       "a dry breeze",
                                                       "drizzle",
                                                       "a red sunset",
                                                       "the sound of bells",
                                                       "dust",
                                                       "frost",
                                                       "a flock of geese",
                                                       "the evening light",
                                                       "smoke from the kilns",
                                                       "moonlight",
                                                       "a steady storm",
                                                       "mist",
                                                       "the noise of carts",
                                                       "a swarm of bees",
                                                       "the spring flood"};
constexpr std::array<std::string_view, 24> kTalk = {
    "the price of wool",       "the new road",           "the mayor's speech",
    "a wedding in the valley", "the state of the roof",  "an unpaid debt",
    "the next election",       "a lost cousin",          "the taste of the water",
    "the depth of the well",   "a book about birds",     "the ferry timetable",
    "the quality of flour",    "a quarrel over fences",  "old songs",
    "the coming winter",       "a stolen goat",          "the choir",
    "the cost of bricks",      "a doubtful inheritance", "travels abroad",
    "the new doctor",          "the width of the canal", "an eclipse of the moon"};

// {n} the person in hand, {N} a name, {t} a trade, {p} a place, {o} a thing, {q} a quality, {w} a time, {d} a deed in
// the past tense, {m} a mood, {s} weather, {k} a topic. A sentence starts with a capital whatever stands first.
constexpr std::array<std::string_view, 42> kPatterns = {
    "{n} the {t} {d} a {q} {o} near {p} {w}.",
    "{w}, {s} lay over {p}, and nobody spoke of {k}.",
    "the {t} told {n} about {k}, but the story ended before they reached {p}.",
    "there was a {q} {o} in every house between {p} and {p}.",
    "{n} walked from {p} to {p} with {m}, carrying a {o} and a {q} {o}.",
    "nobody in the town remembered who had {d} the {o}, though the {t} claimed to know.",
    "{w} the {t} and the {t} argued about {k} until {s} drove them indoors.",
    "at {p} a {q} {o} stood beside a {q} {o}, and both belonged to {N}.",
    "it was {n} who {d} the {q} {o} that had hung in {p} for years.",
    "with {m} {n} explained to the {t} how a {o} should be kept.",
    "the children of the {t} played behind {p} {w}.",
    "{N} wrote a long letter about {k}, which {n} read aloud at {p}.",
    "{s} came from the direction of {p}, as it often did {w}.",
    "since the {o} was {q}, the {t} asked for a better one and got it from {N}.",
    "{n} had never seen {p} {w}, and said so with {m}.",
    "those who passed {p} could hear the {t} talking about {k}.",
    "a {q} road led past {p}, where {N} and {n} used to meet {w}.",
    "the council spoke of {k}, then of {k}, and at last decided nothing.",
    "in the window of the {t} lay a {o}, a {q} {o} and a bundle of letters for {n}.",
    "{n} did not trust the {t}, who {d} a {o} and showed little {m}.",
    "every spring the people cleaned {p} and set a {q} {o} in front of it.",
    "{w}, {N} came back from abroad, asked for {n}, and went straight to {p}.",
    "no one {d} the {o} of the {t} without {m}.",
    "the road to {p} was closed because of {s}, so the {t} stayed with {n}.",
    "old people say that {p} was once the house of a {t} named {N}.",
    "{n} learned the trade of a {t} {w}, and later {d} a {o} for {N}.",
    "although the {q} {o} was of little use, {n} kept it with {m}.",
    "a dog followed the {t} from {p} as far as {p} and then turned back.",
    "there were days when {n} thought only of {k}.",
    "the {t} at {p} {d} more than one {o} {w}.",
    "between {s} and {s} the work at {p} went on slowly.",
    "{N} asked whether the {o} was {q}, and {n} answered with {m} that it was not.",
    "what the {t} liked best was {p} {w}, when {s} had passed.",
    "the newspaper reported on {k} and, further down, on a {q} {o} found near {p}.",
    "{n} counted the steps to {p}, lost count, and began again {w}.",
    "neither {n} nor the {t} had expected {s} so close to {p}.",
    "for a whole week {N} {d} nothing but a {q} {o}.",
    "the visitors praised {p}, drank with the {t}, and forgot a {o} on the bench.",
    "it is said that {m} built {p} and {m} keeps it standing.",
    "{n} sat down by {p} and listened to the {t}, who knew everything about {k}.",
    "the key to {p} was kept by a {t}, and the key to the cellar by {N}.",
    "by the time {n} returned the {o}, the {t} had already {d} another."};

std::string_view pick(Words words, Random& random) { return words[random.below(words.size())]; }

std::string_view fill(char slot, std::string_view person, Random& random) {
  switch (slot) {
    case 'n':
      return person;
    case 'N':
      return pick(kNames, random);
    case 't':
      return pick(kTrades, random);
    case 'p':
      return pick(kPlaces, random);
    case 'o':
      return pick(kThings, random);
    case 'q':
      return pick(kQualities, random);
    case 'w':
      return pick(kTimes, random);
    case 'd':
      return pick(kDeeds, random);
    case 'm':
      return pick(kMoods, random);
    case 's':
      return pick(kWeather, random);
    default:
      return pick(kTalk, random);
  }
}

std::string write_sentence(std::string_view pattern, std::string_view person, Random& random) {
  std::string sentence;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '{') {
      sentence += pattern[i];
      continue;
    }
    sentence += fill(pattern[i + 1], person, random);
    i += 2;
  }
  if (sentence[0] >= 'a' && sentence[0] <= 'z') sentence[0] = static_cast<char>(sentence[0] - 'a' + 'A');
  return sentence;
}

std::vector<std::string> split_sentences(std::string_view text) {
  std::vector<std::string> sentences;
  std::string sentence;
  bool gap = false;
  for (const char c : text) {
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
      gap = true;
      continue;
    }
    const bool ended = !sentence.empty() && std::string_view(".!?").find(sentence.back()) != std::string_view::npos;
    if (gap && ended) {
      sentences.push_back(std::move(sentence));
      sentence.clear();
    } else if (gap && !sentence.empty()) {
      sentence += ' ';
    }
    gap = false;
    sentence += c;
  }
  if (!sentence.empty()) sentences.push_back(std::move(sentence));
  return sentences;
}

}  // namespace

std::vector<std::string> write_hay(int64_t count, Random& random) {
  std::vector<std::string> sentences;
  std::string_view person = pick(kNames, random);
  for (int64_t i = 0; i < count; ++i) {
    if (random.below(5) == 0) person = pick(kNames, random);
    sentences.push_back(write_sentence(pick(kPatterns, random), person, random));
  }
  return sentences;
}

std::vector<std::string> cut_hay(std::string_view text, int64_t count, Random& random) {
  const std::vector<std::string> all = split_sentences(text);
  if (all.empty()) fail_usage("wanted a haystack text, found no sentence in it");
  const size_t first = random.below(all.size());
  std::vector<std::string> sentences;
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) sentences.push_back(all[(first + i) % all.size()]);
  return sentences;
}

}  // namespace kvpareto
