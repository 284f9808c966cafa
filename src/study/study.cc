#include "study/study.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "study/measurement_json.h"

namespace kvpareto {
namespace {
namespace fs = std::filesystem;

constexpr int kApplicationId = 0x6b767061;  // "kvpa", in the file's header
constexpr int kSchema = 1;                  // user_version; raise it when an older program could not read the file
constexpr int kPatienceMs = 30'000;         // for another process that writes

// SQLite's own default, a rollback journal, instead of a write-ahead log: the study is one file between writes, to be
// copied or read from a write-protected folder, and there is one write in seconds at most. EXTRA also syncs the folder
// when the journal goes.
constexpr const char* kDurable = "PRAGMA synchronous = EXTRA";

constexpr const char* kTables = R"sql(
  CREATE TABLE measurements (
    id INTEGER PRIMARY KEY, point TEXT NOT NULL, regime TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
    model TEXT NOT NULL, weights TEXT NOT NULL, kv TEXT NOT NULL, chunk INTEGER NOT NULL, context INTEGER NOT NULL,
    time TEXT NOT NULL, body TEXT NOT NULL, UNIQUE (point, regime));
  CREATE TABLE notes (name TEXT PRIMARY KEY, text TEXT NOT NULL);
  CREATE VIEW figures AS
    SELECT point, regime, f.key AS figure, json_extract(f.value, '$.value') AS value,
           json_extract(f.value, '$.standard_error') AS standard_error, json_extract(f.value, '$.samples') AS samples
    FROM measurements, json_each(body, '$.values') AS f;
)sql";

// Came later than the rest. A program that does not know it misses nothing but the answers, so the schema's number
// stays; a file without it gets it when it is opened for writing.
constexpr const char* kSamples = R"sql(
  CREATE TABLE IF NOT EXISTS samples (
    model TEXT NOT NULL, point TEXT NOT NULL, task TEXT NOT NULL, sample TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (model, point, task, sample)) WITHOUT ROWID;
)sql";

int pragma(SQLite::Database& database, const char* name) {
  return database.execAndGet(fmt::format("PRAGMA {}", name)).getInt();
}

[[noreturn]] void explain(const std::string& path, const char* verb, const SQLite::Exception& error) {
  constexpr const char* kKept = "what was recorded before is kept";
  switch (error.getErrorCode()) {
    case SQLITE_NOTADB:
      fail("{}: wanted a kvpareto study, found a file that is not SQLite", path);
    case SQLITE_FULL:
      fail("{}: cannot {}: the disk is full; {}", path, verb, kKept);
    case SQLITE_IOERR:  // SQLite forgets the system's own reason while it rolls back
      if (error.getExtendedErrorCode() != SQLITE_IOERR_WRITE) break;
      fail("{}: cannot {}: the system refused (quota, limit on file sizes or bad disk); {}", path, verb, kKept);
    case SQLITE_BUSY:
      fail("{}: cannot {}: another process has been writing to it for {} s", path, verb, kPatienceMs / 1000);
    case SQLITE_CORRUPT:
      fail("{}: the study is damaged ({}); `sqlite3 FILE .recover` prints what can be saved", path, error.what());
    case SQLITE_READONLY:
      fail("{}: cannot {}: the file or its folder is write-protected", path, verb);
  }
  fail("{}: cannot {}: {}", path, verb, error.what());
}

void require_file_name(const std::string& path) {
  if (path.empty()) fail("wanted the file name of a study, found an empty text");
  if (path.find('\0') != std::string::npos) fail("wanted the file name of a study, found one with a zero byte in it");
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) fail("{}: wanted a study, found a directory", path);
}

void require_writable(const std::string& path) {
  std::error_code ignored;
  if (fs::exists(path, ignored)) {
    if (::access(path.c_str(), W_OK) != 0) fail("{}: cannot write the study: {}", path, std::strerror(errno));
    return;
  }
  const std::string folder = fs::path(path).has_parent_path() ? fs::path(path).parent_path().string() : ".";
  if (!fs::exists(folder, ignored)) fail("{}: cannot create the study: there is no folder {}", path, folder);
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    fail("{}: cannot create the study: folder {}: {}", path, folder, std::strerror(errno));
  }
}

// SQLite gives names such as ":memory:" and "file:..." a meaning of their own; here a name is a name.
std::string plain_name(const std::string& path) { return path.starts_with('/') ? path : "./" + path; }

void require_study(SQLite::Database& database, const std::string& path) {
  if (pragma(database, "application_id") != kApplicationId) {
    fail("{}: wanted a kvpareto study, found a SQLite database of another program", path);
  }
  const int schema = pragma(database, "user_version");
  if (schema > kSchema) {
    fail("{}: the study has schema {}, made by a newer kvpareto; this one reads schema {}", path, schema, kSchema);
  }
}

bool is_blank(SQLite::Database& database) {
  return pragma(database, "application_id") == 0 &&
         database.execAndGet("SELECT count(*) FROM sqlite_master").getInt() == 0;
}
}  // namespace

struct Study::Parts {
  Parts(const std::string& name, int flags) : path(name), database(plain_name(name), flags, kPatienceMs) {}

  // Runs `body` (a function of no arguments) and says in one line what SQLite could not do.
  template <typename Body>
  auto guarded(const char* verb, Body body) {
    try {
      return body();
    } catch (const SQLite::Exception& error) {
      explain(path, verb, error);
    }
  }

  // All or nothing, and on the disk when it returns. IMMEDIATE: two that read first and write then would refuse each
  // other at once instead of waiting.
  template <typename Body>
  void write(Body body) {
    guarded("write", [&] {
      SQLite::Transaction transaction(database, SQLite::TransactionBehavior::IMMEDIATE);
      body();
      transaction.commit();
    });
  }

  std::vector<Measurement> read(SQLite::Statement& query) {
    std::vector<Measurement> found;
    while (query.executeStep()) {
      const auto where = fmt::format("{}: measurement {}", path, query.getColumn(0).getInt64());
      found.push_back(measurement_from_json(query.getColumn(1).getString(), where));
    }
    return found;
  }

  std::string path;
  SQLite::Database database;
};

Study::Study(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Study::~Study() = default;
Study::Study(Study&& other) noexcept = default;

Study::Study(const std::string& path) {
  require_file_name(path);
  require_writable(path);
  try {
    parts_ = std::make_unique<Parts>(path, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
  } catch (const SQLite::Exception& error) {
    explain(path, "open", error);
  }
  SQLite::Database& database = parts_->database;
  parts_->guarded("open", [&] { database.exec(kDurable); });
  parts_->write([&] {
    if (is_blank(database)) {
      database.exec(kTables);
      database.exec(fmt::format("PRAGMA application_id = {}", kApplicationId));
    }
    require_study(database, path);
    database.exec(kSamples);
    // Written even when it is there already: a study that cannot be written says so now, not after the first
    // measurement.
    database.exec(fmt::format("PRAGMA user_version = {}", kSchema));
  });
}

Study open_existing_study(const std::string& path) {
  require_file_name(path);
  if (::access(path.c_str(), R_OK) != 0) fail("{}: cannot open the study: {}", path, std::strerror(errno));
  std::unique_ptr<Study::Parts> parts;
  try {
    // Not OPEN_READONLY: the journal of a killed writer must be played back first. Falls back to reading by itself.
    parts = std::make_unique<Study::Parts>(path, SQLite::OPEN_READWRITE);
  } catch (const SQLite::Exception& error) {
    explain(path, "open", error);
  }
  parts->guarded("open", [&] {
    if (is_blank(parts->database)) fail("{}: wanted a kvpareto study, found an empty file", path);
    require_study(parts->database, path);
    parts->database.exec("PRAGMA query_only = ON");
  });
  return Study(std::move(parts));
}

void Study::record(const Measurement& m) {
  const std::string point = to_text(m.point);
  if (parse_point(point) != m.point)
    fail("{}: cannot record '{}': it does not read back as the same point", path(), point);
  parts_->write([&] {
    SQLite::Statement insert(parts_->database,
                             "INSERT OR REPLACE INTO measurements (point, regime, state, reason, model, weights, kv, "
                             "chunk, context, time, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    int column = 0;
    const auto bind = [&](const auto& value) { insert.bind(++column, value); };
    bind(point);
    bind(regime_key(m.regime));
    bind(std::string(m.state == State::kDone ? "done" : "failed"));
    bind(m.reason);
    bind(m.regime.model);
    bind(m.point.weights);
    bind(m.point.kv);
    bind(m.point.chunk);
    bind(m.regime.context);
    bind(m.provenance.time);
    bind(to_json(m));
    insert.exec();
  });
}

std::optional<Measurement> Study::find(const Point& point, const Regime& regime) const {
  return parts_->guarded("read", [&]() -> std::optional<Measurement> {
    SQLite::Statement query(parts_->database, "SELECT id, body FROM measurements WHERE point = ? AND regime = ?");
    query.bind(1, to_text(point));
    query.bind(2, regime_key(regime_of(regime, point)));
    std::vector<Measurement> found = parts_->read(query);
    if (found.empty()) return std::nullopt;
    return std::move(found.front());
  });
}

std::vector<Measurement> Study::all() const {
  return parts_->guarded("read", [&] {
    SQLite::Statement query(parts_->database, "SELECT id, body FROM measurements ORDER BY id");
    return parts_->read(query);
  });
}

std::vector<Measurement> Study::all(const Regime& regime) const {
  return parts_->guarded("read", [&] {
    SQLite::Statement query(parts_->database,
                            "SELECT id, body FROM measurements WHERE regime = ? OR regime = ? ORDER BY id");
    query.bind(1, regime_key(regime));
    query.bind(2, regime_key(regime_of(regime, Point())));
    return parts_->read(query);
  });
}

void Study::record(const std::string& model, const Point& point, const std::string& task, const SampleResult& result) {
  parts_->write([&] {
    SQLite::Statement insert(
        parts_->database, "INSERT OR REPLACE INTO samples (model, point, task, sample, body) VALUES (?, ?, ?, ?, ?)");
    insert.bind(1, model);
    insert.bind(2, to_text(point));
    insert.bind(3, task);
    insert.bind(4, result.sample);
    insert.bind(5, to_json(result));
    insert.exec();
  });
}

std::map<std::string, SampleResult> Study::samples(const std::string& model, const Point& point,
                                                   const std::string& task) const {
  return parts_->guarded("read", [&] {
    std::map<std::string, SampleResult> found;
    if (!parts_->database.tableExists("samples")) return found;
    SQLite::Statement query(parts_->database,
                            "SELECT sample, body FROM samples WHERE model = ? AND point = ? AND task = ?");
    query.bind(1, model);
    query.bind(2, to_text(point));
    query.bind(3, task);
    while (query.executeStep()) {
      const std::string sample = query.getColumn(0).getString();
      const std::string where = fmt::format("{}: sample {} of {}", path(), sample, task);
      found.emplace(sample, sample_result_from_json(query.getColumn(1).getString(), where));
    }
    return found;
  });
}

void Study::set_note(const std::string& name, const std::string& text) {
  parts_->write([&] {
    SQLite::Statement insert(parts_->database, "INSERT OR REPLACE INTO notes (name, text) VALUES (?, ?)");
    insert.bind(1, name);
    insert.bind(2, text);
    insert.exec();
  });
}

std::optional<std::string> Study::note(const std::string& name) const {
  return parts_->guarded("read", [&]() -> std::optional<std::string> {
    SQLite::Statement query(parts_->database, "SELECT text FROM notes WHERE name = ?");
    query.bind(1, name);
    if (!query.executeStep()) return std::nullopt;
    return query.getColumn(0).getString();
  });
}

const std::string& Study::path() const { return parts_->path; }

}  // namespace kvpareto
