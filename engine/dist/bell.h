#pragma once
// Wakes a thread that waits for files.

namespace sculpt {

class Bell {
 public:
  /// Throws Error if the system gives no more files.
  Bell();
  ~Bell();
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;

  /// Makes file() readable until silence() is called. Any thread may call it.
  void ring() const;
  void silence() const;
  int file() const { return file_; }

 private:
  const int file_;
};

}  // namespace sculpt
