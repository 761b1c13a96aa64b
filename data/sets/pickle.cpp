#include "data/sets/pickle.h"

#include <algorithm>
#include <map>

#include "engine/core/error.h"

namespace sculpt::data {

using Kind = PickleValue::Kind;

/// Executes the instructions of a pickle, with a stack, marks in the stack, and a memo.
class PickleReader {
 public:
  PickleReader(std::string_view bytes, Pickle& pickle, size_t most_values)
      : bytes_(bytes), pickle_(pickle), most_values_(most_values) {}

  const PickleValue* run() {
    while (true) {
      instruction_ = position_;
      const auto code = static_cast<unsigned char>(take(1)[0]);
      if (code == '.') break;
      execute(code);
    }
    PickleValue* const result = pop();
    if (!stack_.empty()) damaged("it ends with values that belong to nothing");
    return result;
  }

 private:
  [[noreturn]] void damaged(const std::string& what) const {
    fail("{} (at byte {})", what, instruction_);
  }

  // --- These functions read the bytes.
  std::string_view take(size_t count) {
    if (count > bytes_.size() - position_) damaged("it ends too early");
    const std::string_view taken = bytes_.substr(position_, count);
    position_ += count;
    return taken;
  }
  /// Reads an unsigned little-endian number.
  uint64_t number(size_t bytes) {
    uint64_t value = 0;
    const std::string_view taken = take(bytes);
    for (size_t i = 0; i < bytes; ++i)
      value |= uint64_t{static_cast<unsigned char>(taken[i])} << (8 * i);
    return value;
  }
  std::string_view counted(size_t length_bytes) { return take(number(length_bytes)); }
  std::string_view line() {
    const size_t end = bytes_.find('\n', position_);
    if (end == std::string_view::npos) damaged("it ends too early");
    const std::string_view text = take(end - position_);
    take(1);
    return text;
  }

  // --- These functions use the stack.
  PickleValue* make(Kind kind) {
    if (pickle_.values_.size() >= most_values_) damaged("it holds far more values than expected");
    PickleValue& value = pickle_.values_.emplace_back();
    value.kind = kind;
    return &value;
  }
  void push(PickleValue* value) { stack_.push_back(value); }
  PickleValue* push(Kind kind) {
    push(make(kind));
    return stack_.back();
  }
  void push_bytes(Kind kind, std::string_view bytes) { push(kind)->bytes = bytes; }
  void push_integer(int64_t value) { push(Kind::integer)->integer = value; }
  PickleValue* top() const {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) damaged("a value is missing");
    return stack_.back();
  }
  PickleValue* pop() {
    PickleValue* const value = top();
    stack_.pop_back();
    return value;
  }
  std::vector<PickleValue*> pop_to_mark() {
    if (marks_.empty()) damaged("a mark is missing");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleValue*> values(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return values;
  }
  PickleValue* expect(PickleValue* value, Kind kind, const char* what) const {
    if (value->kind != kind) damaged(fmt::format("{} is expected", what));
    return value;
  }
  void push_tuple(size_t count) {
    std::vector<PickleValue*> items(count);
    for (size_t i = count; i-- > 0;)
      items[i] = pop();
    push(Kind::tuple)->items = std::move(items);
  }
  void add_to(Kind kind, const std::vector<PickleValue*>& values) {
    PickleValue* const container =
        expect(top(), kind, kind == Kind::list ? "a list" : "a dictionary");
    if (kind == Kind::dict && values.size() % 2 != 0) damaged("a key has no value");
    container->items.insert(container->items.end(), values.begin(), values.end());
  }
  void remember(uint64_t place) { memo_[place] = top(); }
  void recall(uint64_t place) {
    const auto found = memo_.find(place);
    if (found == memo_.end()) damaged("it refers to a value that it has not stored");
    push(found->second);
  }

  // --- These functions create the values that stand for arrays.
  void push_global(std::string_view module, std::string_view name) {
    const std::string full = fmt::format("{} {}", module, name);
    for (const std::string_view known :
         {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct",
          "numpy ndarray", "numpy dtype", "_codecs encode"})
      if (full == known) return push_bytes(Kind::global, known);
    damaged(fmt::format("it asks for {}.{}, which a data set does not need", module, name));
  }
  void call() {
    const PickleValue& arguments = *expect(pop(), Kind::tuple, "a tuple of arguments");
    const std::string_view function = expect(pop(), Kind::global, "a function")->bytes;
    const auto& items = arguments.items;
    if (function.ends_with("_reconstruct")) {
      push(Kind::array);
    } else if (function == "numpy dtype") {
      if (items.empty()) damaged("a dtype has no name");
      push_bytes(Kind::dtype, items[0]->bytes);
    } else if (function == "_codecs encode" && items.size() == 2 && items[0]->kind == Kind::text &&
               items[1]->bytes == "latin1") {
      push_bytes(Kind::bytes, latin1(items[0]->bytes));
    } else {
      damaged("it calls something in a way that a data set does not need");
    }
  }
  /// Decodes a text of the characters 0 to 255, which is how Python 3 writes bytes in protocol 2.
  std::string_view latin1(std::string_view text) {
    std::string& bytes = pickle_.texts_.emplace_back();
    for (size_t i = 0; i < text.size(); ++i) {
      const auto first = static_cast<unsigned char>(text[i]);
      if (first < 0x80) {
        bytes += text[i];
        continue;
      }
      if ((first != 0xC2 && first != 0xC3) || i + 1 >= text.size()) damaged("a text is not latin1");
      bytes +=
          static_cast<char>(((first & 3u) << 6) | (static_cast<unsigned char>(text[++i]) & 63u));
    }
    return bytes;
  }
  void set_state() {
    const PickleValue& state = *expect(pop(), Kind::tuple, "a tuple");
    PickleValue& object = *top();
    if (object.kind == Kind::dtype) return;  // its state: byte order and fields, not used
    expect(&object, Kind::array, "an array");
    const auto& items = state.items;  // version, shape, dtype, Fortran order, data
    if (items.size() != 5 || items[1]->kind != Kind::tuple || items[2]->kind != Kind::dtype ||
        items[3]->kind != Kind::boolean || items[4]->kind != Kind::bytes)
      damaged("an array's state is not as numpy writes it");
    if (items[3]->integer != 0) damaged("an array is stored column by column");
    for (PickleValue* const size : items[1]->items)
      object.shape.push_back(expect(size, Kind::integer, "a size")->integer);
    object.element = std::string(items[2]->bytes);
    object.bytes = items[4]->bytes;
  }

  void execute(unsigned char code) {
    switch (code) {
      case 0x80:  // PROTO
        if (const uint64_t protocol = number(1); protocol > 5)
          damaged(fmt::format("it has the pickle protocol {}, but only 0 to 5 are supported",
                              protocol));
        return;
      case 0x95:  // FRAME
        take(8);
        return;
      case '(':  // MARK
        return marks_.push_back(stack_.size());
      case 'N':
        push(Kind::none);
        return;
      case 0x88:  // NEWTRUE
      case 0x89:  // NEWFALSE
        push(Kind::boolean)->integer = code == 0x88;
        return;
      case 'K':  // BININT1
        return push_integer(static_cast<int64_t>(number(1)));
      case 'M':  // BININT2
        return push_integer(static_cast<int64_t>(number(2)));
      case 'J':  // BININT
        return push_integer(static_cast<int32_t>(number(4)));
      case 0x8a: {  // LONG1
        const uint64_t bytes = number(1);
        if (bytes > 8) damaged("a number is too large");
        uint64_t value = number(bytes);
        if (bytes > 0 && bytes < 8 && (value >> (8 * bytes - 1)) != 0)
          value |= ~uint64_t{0} << (8 * bytes);
        return push_integer(static_cast<int64_t>(value));
      }
      case 'U':  // SHORT_BINSTRING: a str of Python 2, which is bytes
      case 'C':  // SHORT_BINBYTES
        return push_bytes(Kind::bytes, counted(1));
      case 'T':  // BINSTRING
      case 'B':  // BINBYTES
        return push_bytes(Kind::bytes, counted(4));
      case 0x8e:  // BINBYTES8
        return push_bytes(Kind::bytes, counted(8));
      case 0x8c:  // SHORT_BINUNICODE
        return push_bytes(Kind::text, counted(1));
      case 'X':  // BINUNICODE
        return push_bytes(Kind::text, counted(4));
      case 0x8d:  // BINUNICODE8
        return push_bytes(Kind::text, counted(8));
      case ']':
        push(Kind::list);
        return;
      case 'a': {
        PickleValue* const value = pop();
        return add_to(Kind::list, {value});
      }
      case 'e':
        return add_to(Kind::list, pop_to_mark());
      case '}':
        push(Kind::dict);
        return;
      case 's': {
        PickleValue* const value = pop();
        PickleValue* const key = pop();
        return add_to(Kind::dict, {key, value});
      }
      case 'u':
        return add_to(Kind::dict, pop_to_mark());
      case ')':
        return push_tuple(0);
      case 0x85:
      case 0x86:
      case 0x87:
        return push_tuple(code - 0x84u);
      case 't': {
        std::vector<PickleValue*> items = pop_to_mark();
        push(Kind::tuple)->items = std::move(items);
        return;
      }
      case 'q':  // BINPUT
        return remember(number(1));
      case 'r':  // LONG_BINPUT
        return remember(number(4));
      case 0x94:  // MEMOIZE
        return remember(memo_.size());
      case 'h':  // BINGET
        return recall(number(1));
      case 'j':  // LONG_BINGET
        return recall(number(4));
      case 'c': {  // GLOBAL
        const std::string_view module = line();
        return push_global(module, line());
      }
      case 0x93: {  // STACK_GLOBAL
        const PickleValue* const name = expect(pop(), Kind::text, "a name");
        return push_global(expect(pop(), Kind::text, "a name")->bytes, name->bytes);
      }
      case 'R':
        return call();
      case 'b':
        return set_state();
      default:
        damaged(
            fmt::format("it has the instruction 0x{:02x}, which a data set does not need", code));
    }
  }

  const std::string_view bytes_;
  Pickle& pickle_;
  const size_t most_values_;
  size_t position_ = 0;
  size_t instruction_ = 0;  // first byte of the current instruction
  std::vector<PickleValue*> stack_;
  std::vector<size_t> marks_;  // sizes of the stack
  std::map<uint64_t, PickleValue*> memo_;
};

Pickle::Pickle(std::string_view bytes, size_t most_values)
    : result_(PickleReader(bytes, *this, most_values).run()) {}

const PickleValue* find(const PickleValue& dict, std::string_view key) {
  if (dict.kind != Kind::dict) return nullptr;
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const PickleValue& name = *dict.items[i];
    if ((name.kind == Kind::text || name.kind == Kind::bytes) && name.bytes == key)
      return dict.items[i + 1];
  }
  return nullptr;
}

}  // namespace sculpt::data
