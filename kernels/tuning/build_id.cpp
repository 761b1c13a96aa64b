#include "kernels/tuning/build_id.h"

#include <cstdint>
#include <elf.h>
#include <fmt/format.h>
#include <link.h>

namespace sculpt::kernels {
namespace {

struct Search {
  uintptr_t address;
  std::string id;
};

bool contains(const dl_phdr_info& object, uintptr_t address) {
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    const auto& segment = object.dlpi_phdr[i];
    const uintptr_t begin = object.dlpi_addr + segment.p_vaddr;
    if (segment.p_type == PT_LOAD && address >= begin && address < begin + segment.p_memsz)
      return true;
  }
  return false;
}

size_t padded(size_t bytes) {
  return (bytes + 3) / 4 * 4;
}

/// Returns the build id among the notes of one segment.
std::string id_in(const unsigned char* notes, size_t bytes) {
  for (size_t at = 0; at + sizeof(ElfW(Nhdr)) <= bytes;) {
    const auto& note = *reinterpret_cast<const ElfW(Nhdr)*>(notes + at);
    const unsigned char* const content = notes + at + sizeof(note) + padded(note.n_namesz);
    if (note.n_type == NT_GNU_BUILD_ID) {
      std::string id;
      for (size_t i = 0; i < note.n_descsz; ++i)
        id += fmt::format("{:02x}", content[i]);
      return id;
    }
    at += sizeof(note) + padded(note.n_namesz) + padded(note.n_descsz);
  }
  return "";
}

int visit(dl_phdr_info* object, size_t, void* data) {
  auto& search = *static_cast<Search*>(data);
  if (!contains(*object, search.address)) return 0;
  for (int i = 0; i < object->dlpi_phnum && search.id.empty(); ++i) {
    const auto& segment = object->dlpi_phdr[i];
    if (segment.p_type == PT_NOTE)
      search.id = id_in(reinterpret_cast<const unsigned char*>(object->dlpi_addr + segment.p_vaddr),
                        segment.p_memsz);
  }
  return 1;
}

}  // namespace

std::string build_id(const void* address) {
  Search search = {reinterpret_cast<uintptr_t>(address), ""};
  dl_iterate_phdr(visit, &search);
  return search.id;
}

}  // namespace sculpt::kernels
