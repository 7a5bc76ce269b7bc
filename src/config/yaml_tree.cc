// From yaml-cpp's events to our tree. All limits are kept here, while reading: a hostile document is refused before it is large.
#include "config/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "config/yaml.h"

namespace kiln::config {

namespace {

Position position_of(const YAML::Mark& mark) { return mark.is_null() ? Position{} : Position{mark.line + 1, mark.column + 1}; }

// The tags that say no more than the text does: none, quoted, and YAML's own plain types.
bool is_plain_tag(const std::string& tag) {
  static constexpr std::string_view kCore = "tag:yaml.org,2002:";
  if (tag.empty() || tag == "?" || tag == "!") return true;
  if (!tag.starts_with(kCore)) return false;
  const std::string name = tag.substr(kCore.size());
  return name == "str" || name == "int" || name == "float" || name == "bool" || name == "map" || name == "seq" || name == "null";
}

class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const Source& source) : source_(source) {}

  std::shared_ptr<const YamlItem> root() const { return root_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) fail(position_of(mark), "a second document starts here", "one file holds one document: remove the '---'");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { leaf(YamlItem::Kind::kNull, mark, anchor, {}); }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) override {
    check_tag(mark, tag);
    check_closed(mark);
    leaf(YamlItem::Kind::kScalar, mark, anchor, value);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    // yaml-cpp numbers an anchor when it begins, so an alias inside of what it names gets here before that is finished.
    if (found == anchors_.end()) fail(position_of(mark), "the alias stands inside of what it names");
    auto item = std::make_shared<YamlItem>(*found->second);
    item->at = position_of(mark);
    // Doubling levels of aliases grow without bound on paper ("billion laughs"); the weight counts what they would be.
    total_ += item->weight;
    check_total(item->at);
    add(std::move(item));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(YamlItem::Kind::kList, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(YamlItem::Kind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    std::shared_ptr<YamlItem> item;
    YAML::anchor_t anchor = YAML::NullAnchor;
    bool has_key = false;
    std::string key;
    Position key_at;
    std::map<std::string, Position> keys;
  };

  [[noreturn]] void fail(Position at, std::string_view what, std::string hint = {}) const {
    throw ConfigError(source_.file, source_.text, at, what, std::move(hint));
  }

  void check_tag(const YAML::Mark& mark, const std::string& tag) const {
    if (!is_plain_tag(tag)) fail(position_of(mark), "tag " + in_quotes(tag) + " means nothing here", "remove the tag");
  }

  // yaml-cpp takes the end of the file for a closing quote when a line end is before it.
  void check_closed(const YAML::Mark& mark) const {
    const std::string& text = source_.text;
    std::size_t start = mark.is_null() ? text.size() : static_cast<std::size_t>(mark.pos);
    // An anchor or tag may stand before the quote.
    while (start < text.size() && (text[start] == '&' || text[start] == '!')) {
      start = text.find_first_not_of(" \t", std::min(text.find_first_of(" \t\r\n", start), text.size()));
    }
    if (start >= text.size() || (text[start] != '"' && text[start] != '\'')) return;
    for (std::size_t i = start + 1; i < text.size(); ++i) {
      const bool doubled = text[start] == '\'' && text.compare(i, 2, "''") == 0;
      if (text[i] == text[start] && !doubled) return;
      if (doubled || (text[start] == '"' && text[i] == '\\')) ++i;
    }
    fail(position_of(mark), "a quote is opened here and never closed");
  }

  void check_total(Position at) const {
    if (total_ > kMaxYamlValues) fail(at, fmt::format("the document has more than {} values, aliases followed", kMaxYamlValues));
  }

  void leaf(YamlItem::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor, const std::string& value) {
    auto item = std::make_shared<YamlItem>();
    item->kind = kind;
    item->at = position_of(mark);
    item->scalar = value;
    ++total_;
    check_total(item->at);
    if (anchor != YAML::NullAnchor) anchors_[anchor] = item;
    add(std::move(item));
  }

  void open(YamlItem::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    const Position at = position_of(mark);
    check_tag(mark, tag);
    if (static_cast<int>(open_.size()) >= kMaxYamlDepth) fail(at, fmt::format("lists and maps nest more than {} deep", kMaxYamlDepth));
    if (expects_key()) fail(at, "a key must be a plain word, found " + std::string(kind == YamlItem::Kind::kMap ? "a map" : "a list"));
    auto item = std::make_shared<YamlItem>();
    item->kind = kind;
    item->at = at;
    ++total_;
    check_total(at);
    open_.push_back({std::move(item), anchor, false, {}, {}, {}});
  }

  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    if (done.anchor != YAML::NullAnchor) anchors_[done.anchor] = done.item;
    add(std::move(done.item));
  }

  bool expects_key() const { return !open_.empty() && open_.back().item->kind == YamlItem::Kind::kMap && !open_.back().has_key; }

  void add(std::shared_ptr<YamlItem> item) {
    if (open_.empty()) {
      root_ = std::move(item);
      return;
    }
    Open& parent = open_.back();
    if (expects_key()) {
      add_key(parent, *item);
      return;
    }
    parent.item->weight += item->weight;
    if (parent.item->kind == YamlItem::Kind::kMap) {
      parent.item->members.push_back({std::move(parent.key), parent.key_at, std::move(item)});
      parent.has_key = false;
    } else {
      parent.item->items.push_back(std::move(item));
    }
  }

  void add_key(Open& parent, const YamlItem& item) const {
    if (item.kind != YamlItem::Kind::kScalar) fail(item.at, "a key must be a plain word");
    if (item.scalar == "<<") fail(item.at, "merge keys ('<<') are not understood", "write the members out");
    const auto [known, is_new] = parent.keys.emplace(item.scalar, item.at);
    if (!is_new) {
      fail(item.at, "key " + in_quotes(item.scalar) + " is given twice", fmt::format("it is given in line {} already", known->second.line));
    }
    parent.has_key = true;
    parent.key = item.scalar;
    parent.key_at = item.at;
  }

  const Source& source_;
  int documents_ = 0;
  std::size_t total_ = 0;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, std::shared_ptr<const YamlItem>> anchors_;
  std::shared_ptr<const YamlItem> root_;
};

Position position_at(std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const std::size_t line_start = before.rfind('\n');
  return {1 + static_cast<int>(std::count(before.begin(), before.end(), '\n')),
          1 + static_cast<int>(offset - (line_start == std::string_view::npos ? 0 : line_start + 1))};
}

// The length of the UTF-8 sequence at `i` (RFC 3629: shortest form, no surrogates, nothing over U+10FFFF); 0: there is none.
std::size_t utf8_length(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t at) -> unsigned { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0; };
  const auto follows = [&](std::size_t count) {
    for (std::size_t k = 1; k <= count; ++k) {
      if ((byte(i + k) & 0xC0) != 0x80) return false;
    }
    return true;
  };
  const unsigned first = byte(i), second = byte(i + 1);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F)) return 0;
    return follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if ((first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F)) return 0;
    return follows(3) ? 4 : 0;
  }
  return 0;
}

// yaml-cpp guesses UTF-16 and 32 and replaces what it cannot read; both would move every position, and names would differ from
// what the user sees. So: UTF-8 without control characters, or an error that says where.
void check_text(const Source& source) {
  const auto& text = source.text;
  const auto refuse = [&](std::size_t offset, const std::string& what, std::string hint) {
    // Without the line: it is not text.
    throw ConfigError(source.file, {}, position_at(text, offset), what, std::move(hint));
  };
  if (text.size() > kMaxConfigBytes) refuse(0, fmt::format("the file is longer than {} bytes", kMaxConfigBytes), {});
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) refuse(0, "the file is UTF-16, not UTF-8", "save it as UTF-8");
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    const auto byte = static_cast<unsigned char>(text[i]);
    if (length == 0) refuse(i, fmt::format("byte 0x{:02x} is not UTF-8", byte), "save the file as UTF-8");
    if ((byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7F) {
      refuse(i, fmt::format("control character 0x{:02x}", byte), "remove it; inside double quotes it can be written as an escape");
    }
    i += length;
  }
}

std::string_view line_at(std::string_view text, int number) {
  std::size_t start = 0;
  for (int line = 1; line < number && start != std::string_view::npos; ++line) {
    start = text.find('\n', start);
    if (start != std::string_view::npos) ++start;
  }
  if (start == std::string_view::npos) return {};
  return text.substr(start, text.find('\n', start) - start);
}

// yaml-cpp's words for its mistakes, with the cause that is most often behind them: a tab where only blanks may stand.
[[noreturn]] void fail_parsing(const Source& source, const YAML::Exception& error) {
  Position at = position_of(error.mark);
  // The parser stumbles over a tab in the tab's line or when it reads on to the next.
  for (int line = at.line; line > 0 && line >= at.line - 1; --line) {
    const std::string_view words = line_at(source.text, line);
    const std::size_t indent = words.find_first_not_of(" \t\r");
    const std::size_t tab = words.find('\t');
    if (tab < indent && indent != std::string_view::npos) {
      throw ConfigError(source.file, source.text, {line, static_cast<int>(tab) + 1}, "a tab in the indentation",
                        "YAML is indented by blanks only");
    }
  }
  std::string hint;
  if (error.msg == std::string_view("illegal map value")) hint = "quote a value that contains ': '";
  throw ConfigError(source.file, source.text, at, "not valid YAML: " + error.msg, hint);
}

}  // namespace

std::shared_ptr<const YamlItem> parse_yaml_tree(const Source& source) {
  check_text(source);
  TreeBuilder builder(source);
  try {
    std::istringstream stream(source.text);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    fail_parsing(source, error);
  }
  if (builder.root()) return builder.root();
  auto nothing = std::make_shared<YamlItem>();
  nothing->at = {1, 1};
  return nothing;
}

}  // namespace kiln::config
