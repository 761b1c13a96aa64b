#include "engine/report/html_parts.h"

#include <algorithm>
#include <cctype>
#include <fmt/format.h>

#include "engine/report/ink.h"
#include "engine/report/markup.h"

namespace sculpt {
namespace {

constexpr std::string_view kStyle = R"(
:root{--page:#f6f7f9;--card:#fff;--ink:#1b1f26;--soft:#545c68;--line:#dfe3e8;--code:#f0f2f5;
--accent:#0063a0;--good:#0b7a4b;--busy:#0063a0;--wait:#8a5a00;--bad:#b3261e;--warn:#fff6e0;
--warnline:#e8b84a;--edge:rgba(27,31,38,.45)}
@media screen and (prefers-color-scheme:dark){:root{--page:#101318;--card:#171b21;--ink:#e6e9ee;
--soft:#a2abb8;--line:#2b313a;--code:#20262e;--accent:#6cb6f0;--good:#4cc38a;--busy:#6cb6f0;
--wait:#e3b04b;--bad:#ff8a80;--warn:#2b2412;--warnline:#8a6d1f;
--edge:rgba(230,233,238,.5)}}
*{box-sizing:border-box}
html{color-scheme:light dark;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif}
header,main,footer{max-width:1120px;margin:0 auto;padding:0 24px}
header{padding-top:36px}
h1{font-size:30px;line-height:1.2;margin:4px 0 10px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:21px;line-height:1.3;margin:44px 0 12px}
h3{font-size:15px;line-height:1.35;margin:0 0 8px}
p{margin:0 0 12px;max-width:75ch}
a{color:var(--accent)}
.kind{margin:0;color:var(--soft);font-size:14px}
.state{display:inline-block;margin-left:8px;padding:1px 10px;border-radius:99px;
border:1px solid currentColor;font-size:13px;font-weight:600}
.finished{color:var(--good)}.running{color:var(--busy)}.stopped{color:var(--wait)}
.failed{color:var(--bad)}
.lead{font-size:18px;color:var(--ink);margin-bottom:20px}
.warnings{background:var(--warn);border:1px solid var(--warnline);border-radius:10px;
padding:12px 16px;margin:0 0 20px}
.warnings ul{margin:0;padding-left:20px}.warnings li{overflow-wrap:anywhere}
.facts{display:flex;flex-wrap:wrap;gap:1px;margin:0;
background:var(--line);border:1px solid var(--line);border-radius:10px;overflow:hidden}
.facts>div{flex:1 1 155px;background:var(--card);padding:12px 16px}
dt{font-size:13px;color:var(--soft)}
dd{margin:0;font-size:23px;font-weight:600;line-height:1.3;font-variant-numeric:tabular-nums}
dd.note{font-size:13px;font-weight:400;color:var(--soft)}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,430px),1fr));gap:18px;
margin:0 0 18px}
figure,.table{margin:0;background:var(--card);border:1px solid var(--line);border-radius:10px;
padding:16px 18px;min-width:0}
.table{margin-bottom:18px}
figure svg{display:block;width:100%;max-width:520px;height:auto;margin:0 auto}
figcaption,.caption{font-size:13.5px;line-height:1.45;color:var(--soft);margin:10px 0 0}
.data{font-size:13.5px;color:var(--soft);margin:8px 0 0}
summary{cursor:pointer}
.data pre{max-height:300px}
pre{margin:8px 0 12px;padding:12px 14px;background:var(--code);border-radius:8px;overflow:auto;
font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
pre code{font:inherit;white-space:pre-wrap;overflow-wrap:anywhere}
.purpose{margin:12px 0 0}
/* Where a table goes on behind an edge, the edge is marked, and the text fades towards it, so that a
cut number cannot be read as a whole one. The covers of the marks move with the table. */
.scroll{overflow-x:auto;background:
linear-gradient(to right,var(--card) 30%,transparent) 0 0/48px 100% no-repeat local,
linear-gradient(to left,var(--card) 30%,transparent) 100% 0/48px 100% no-repeat local,
linear-gradient(to right,var(--edge),transparent) 0 0/18px 100% no-repeat scroll,
linear-gradient(to left,var(--edge),transparent) 100% 0/18px 100% no-repeat scroll}
@supports (animation-timeline:scroll(self inline)){.scroll{animation:fade linear both;
animation-timeline:scroll(self inline)}}
@keyframes fade{0%{mask-image:linear-gradient(to left,#000 2px,transparent 2px 10px,#000 60px)}
2%,98%{mask-image:linear-gradient(to left,#000 2px,transparent 2px 10px,#000 60px,
#000 calc(100% - 60px),transparent calc(100% - 10px) calc(100% - 2px),#000 calc(100% - 2px))}
100%{mask-image:linear-gradient(to right,#000 2px,transparent 2px 10px,#000 60px)}}
table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:5px 16px 5px 0;text-align:left;vertical-align:top}
th{color:var(--soft);font-weight:600;border-bottom:1px solid var(--line);white-space:nowrap}
td{border-bottom:1px solid var(--line);overflow-wrap:break-word}
tbody tr:last-child td{border-bottom:0}
.n{text-align:right;white-space:nowrap}
td:first-child:not(.n){min-width:9em}
th:last-child,td:last-child{padding-right:0}
details.section>summary h2{display:inline}
details.section{margin-top:44px}details.section>summary{margin-bottom:12px}
footer{padding-top:40px;padding-bottom:40px;color:var(--soft);font-size:13px}
@media (max-width:560px){header,main,footer{padding-left:14px;padding-right:14px}
header{padding-top:22px}h1{font-size:24px}h2{margin-top:34px}.lead{font-size:16.5px}
figure,.table{padding:12px 12px}.facts>div{flex-basis:130px}dd{font-size:20px}}
@media print{@page{margin:16mm}body{background:#fff;font-size:10.5pt}
header,main,footer{max-width:none;padding:0}h2{break-after:avoid;margin-top:22pt}
.figures{grid-template-columns:1fr 1fr;gap:10pt}dd{font-size:15pt}
.facts>div{flex-basis:100px;padding:6pt 9pt}figure,.table{padding:8pt 9pt}
figure{break-inside:avoid}figure,.table,.facts{border-color:#ccc}
tr,.facts>div,.warnings{break-inside:avoid}thead{display:table-header-group}
.scroll{overflow:visible;background:none;animation:none}table{font-size:9pt}details.data,p.data{display:none}
pre{white-space:pre-wrap}a{color:inherit;text-decoration:none}}
)";

bool is_number(const std::string& text) {
  const bool digit = std::ranges::any_of(
      text, [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; });
  // Everything that numbers of reports are made of: signs, units of time, percent, "± 0.31", "3 of
  // 9".
  static constexpr std::string_view kAllowed = "0123456789.,+-%() ehmsof\u2212\u00b1\u00d7\u00b7";
  return digit && text.find_first_not_of(kAllowed) == std::string::npos;
}

/// Returns for each column whether it holds only numbers and empty cells.
std::vector<bool> number_columns(const Table& table) {
  std::vector<bool> found(table.columns.size());
  for (size_t i = 0; i < found.size(); ++i) {
    bool any = false, all = true;
    for (const auto& row : table.rows) {
      if (row[i].empty() || row[i] == "\u2013") continue;
      any = true;
      all = all && is_number(row[i]);
    }
    found[i] = any && all;
  }
  return found;
}

}  // namespace

std::string page_head(const std::string& title, int reload_seconds) {
  const std::string reload =
      reload_seconds > 0
          ? fmt::format("<meta http-equiv=\"refresh\" content=\"{}\">\n", reload_seconds)
          : "";
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n{}"
      "<title>{}</title>\n<style>{}{}</style>\n</head>\n<body>\n",
      reload, escape_markup(title), kStyle, ink_style_sheet());
}

std::string html_table(const Table& table, size_t rows) {
  const std::vector<bool> numbers = number_columns(table);
  const auto attribute = [&](size_t i) { return numbers[i] ? " class=\"n\"" : ""; };
  std::string text = "<table>\n<thead><tr>";
  for (size_t i = 0; i < table.columns.size(); ++i)
    text += fmt::format("<th{}>{}</th>", attribute(i), escape_markup(table.columns[i]));
  text += "</tr></thead>\n<tbody>\n";
  for (size_t row = 0; row < std::min(rows, table.rows.size()); ++row) {
    text += "<tr>";
    for (size_t i = 0; i < table.columns.size(); ++i) {
      std::string cell = escape_markup(table.rows[row][i]);
      if (i == 0 && row < table.links.size() && !table.links[row].empty())
        cell = fmt::format("<a href=\"{}\">{}</a>", url_of(table.links[row]), cell);
      text += fmt::format("<td{}>{}</td>", attribute(i), cell);
    }
    text += "</tr>\n";
  }
  return text + "</tbody>\n</table>\n";
}

std::string url_of(const std::string& path) {
  std::string url;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte < 0x80 && (std::isalnum(byte) != 0 ||
                                       std::string_view("-._~/").find(c) != std::string_view::npos);
    url += plain ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  return url;
}

std::string with_breaks(const std::string& escaped) {
  std::string text;
  for (const char c : escaped) {
    text += c;
    if (c == '/' || c == '_' || c == ',' || c == '-') text += "<wbr>";
  }
  return text;
}

}  // namespace sculpt
