#include "engine/dist/sockets/caller.h"

#include "engine/core/error.h"
#include "engine/dist/sockets/hello.h"
#include "engine/dist/sockets/team.h"

namespace sculpt::sockets {
namespace {

constexpr auto kBetweenRounds = std::chrono::milliseconds(100);
// An address that leads nowhere may not answer at all.
constexpr auto kAnswers = std::chrono::seconds(3);

bool is_writable(const Socket& socket) {
  pollfd file{socket.file(), POLLOUT, 0};
  return poll(&file, 1, 0) > 0;
}

}  // namespace

std::unique_ptr<Link> Caller::step() {
  if (!connecting_.is_open() && !link_) call_next();
  if (connecting_.is_open() && is_writable(connecting_)) {
    const std::string error = connection_error(connecting_);
    if (!error.empty()) {
      give_up(error);
      return nullptr;
    }
    const std::string hello = hello_(connecting_);
    link_ = std::make_unique<Link>(std::exchange(connecting_, {}));
    link_->send(MessageKind::hello, hello);
  }
  if (link_) {
    link_->flush();
    link_->receive();
    const auto answer = link_->take();
    if (answer && answer->kind == MessageKind::welcome) return std::move(link_);
    if (answer && answer->kind == MessageKind::refusal) {
      refusal_ = text_of(answer->bytes);
      give_up(refusal_);
    } else if (answer && answer->kind == MessageKind::end) {
      obey_the_end({}, *answer);
    } else if (answer || link_->is_closed()) {
      give_up("there is something else");
    }
  }
  if ((connecting_.is_open() || link_) && Clock::now() - called_ > kAnswers) give_up("no answer");
  return nullptr;
}

void Caller::call_next() {
  const auto now = Clock::now();
  if (tried_ == addresses_.size()) {
    if (now < next_round_) return;
    next_round_ = now + kBetweenRounds;
    tried_ = 0;
    problems_of_round_.clear();
    addresses_ = find_(problem_);
    if (addresses_.empty()) return;
  }
  called_ = now;
  try {
    connecting_ = start_connecting(addresses_[tried_]);
  } catch (const Error& error) {
    give_up(error.what());
  }
}

void Caller::give_up(const std::string& reason) {
  connecting_ = {};
  link_.reset();
  problems_of_round_ += fmt::format("{}{}: {}", problems_of_round_.empty() ? "" : "; ",
                                    addresses_[tried_].text(), reason);
  if (++tried_ == addresses_.size()) problem_ = problems_of_round_;
}

pollfd Caller::file() const {
  if (link_) return link_->file();
  return {connecting_.file(), POLLOUT, 0};
}

}  // namespace sculpt::sockets
