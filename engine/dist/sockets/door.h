#pragma once
// A rank waits at a door for other ranks while the ranks are connecting. Anybody may come to a
// door, and may say nothing or something else.

#include <chrono>
#include <list>
#include <memory>
#include <optional>
#include <poll.h>
#include <string>
#include <vector>

#include "engine/dist/sockets/hello.h"
#include "engine/dist/sockets/link.h"
#include "engine/dist/sockets/rendezvous.h"

namespace sculpt::sockets {

/// Somebody who has connected.
class Visitor {
 public:
  explicit Visitor(Socket socket) : link_(std::make_unique<Link>(std::move(socket))) {}

  /// Returns what the visitor has said, if that is a hello that has not been taken yet.
  std::optional<Hello> take_hello();
  /// Takes the visitor in.
  std::unique_ptr<Link> welcome();
  /// Tells the visitor why it is not taken in.
  void refuse(const std::string& reason) { link_->send(MessageKind::refusal, reason); }

  /// Returns true if the visitor is in, has gone, or has stood there for too long.
  bool is_over() const;
  /// Ends the visitor, after this rank has said why.
  void end(int exit_code) {
    link_->send(MessageKind::end, std::as_bytes(std::span(&exit_code, 1)));
  }
  pollfd file() const { return link_->file(); }

 private:
  using Clock = std::chrono::steady_clock;
  const Clock::time_point came_ = Clock::now();
  std::unique_ptr<Link> link_;
};

class Door {
 public:
  /// Opens the door of rank 0. Returns the addresses by which others reach it.
  std::vector<Address> open_for_all(const Rendezvous& rendezvous);
  /// Opens the door of another rank, which reaches rank 0 from the address `by`.
  std::vector<Address> open_for_neighbour(const Rendezvous& rendezvous, const Address& by);
  /// Returns the addresses of rank 0, and replaces `token` by that of the invitation; none, and a
  /// reason in `problem`, if they are not known yet.
  std::vector<Address> find_root(const Rendezvous& rendezvous, std::string& token,
                                 std::string& problem);

  /// Returns the visitors of now.
  std::list<Visitor>& visitors();
  /// Returns where the door is, for messages.
  const std::string& description() const { return description_; }
  void add_files(std::vector<pollfd>& files) const;

 private:
  Socket listener_;
  std::list<Visitor> visitors_;
  std::vector<Address> root_;  ///< the addresses of rank 0, if they do not change
  std::string description_;
  bool on_this_host_ = false;  ///< true if rank 0 can be reached from its own host only
};

/// The file of an invitation, while the object lives.
class InvitationFile {
 public:
  /// Writes the file. Does nothing if `file` is empty.
  InvitationFile(std::string file, const Invitation& invitation);
  ~InvitationFile();
  InvitationFile(const InvitationFile&) = delete;
  InvitationFile& operator=(const InvitationFile&) = delete;

 private:
  const std::string file_, token_;
};

}  // namespace sculpt::sockets
