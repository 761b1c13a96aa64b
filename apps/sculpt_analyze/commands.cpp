#include "apps/sculpt_analyze/commands.h"

#include <memory>

#include "apps/sculpt_analyze/analyses.h"
#include "apps/sculpt_analyze/command_options.h"
#include "apps/sculpt_analyze/presentation.h"
#include "apps/sculpt_run/key_names.h"
#include "apps/sculpt_run/paths.h"
#include "apps/sculpt_run/request.h"
#include "apps/sculpt_run/terminal.h"
#include "engine/analyze/exported_network.h"
#include "engine/core/error.h"
#include "engine/core/file_format.h"
#include "engine/core/files.h"
#include "engine/formats/safetensors.h"
#include "engine/run/checkpoint.h"
#include "engine/run/run_reader.h"

namespace sculpt::analyze {
namespace {

// Lanczos ends after 100 products, which settle at most half as many values. A surface of 1,000 x
// 1,000 points takes days.
constexpr int64_t kMostImages = int64_t{1} << 40;
constexpr CountRange kEigenvalues{1, 50}, kProbes{2, 100000}, kLinePoints{2, 10000},
    kSurfacePoints{2, 1000};

/// Returns a session on a target. Throws CannotWrite if the results of an analysis could not be
/// written, before anything is computed.
Session session_on(const Target& target, const SharedOptions& shared) {
  if (const auto folder = results_folder_of(target, shared))
    require_writable(RunFolder(*folder).analysis());
  return {target, shared};
}

void show(Analysis analysis, const Session& session, const SharedOptions& shared) {
  analysis.command = shared.command;
  present(analysis, session.results_folder());
}

/// Returns a session on a run folder. Throws UsageError if the person named a file.
Session session_of_run(const std::string& path, const SharedOptions& shared) {
  const Target target = find_target(path, shared);
  if (target.checkpoint)
    throw UsageError(fmt::format("{} is a file, but this analysis needs a run folder", path));
  return session_on(target, shared);
}

/// Returns the network that a target names: its checkpoint, or the final one of a run folder.
NamedNetwork network_of(Session& session) {
  const Target& target = session.target();
  return session.named(target.checkpoint ? target.checkpoint->string() : "final");
}

/// Returns the networks that the targets name. The first target is that of the session.
std::vector<NamedNetwork> networks_of(Session& session, const std::vector<std::string>& targets,
                                      const SharedOptions& shared) {
  std::vector<NamedNetwork> networks = {network_of(session)};
  for (size_t i = 1; i < targets.size(); ++i) {
    const Target target = find_target(targets[i], shared);
    networks.push_back(session.named(target.checkpoint
                                         ? target.checkpoint->string()
                                         : RunFolder(*target.run).final_checkpoint().string()));
  }
  return networks;
}

Command connectivity_command(CLI::App& app, const SharedOptions& shared) {
  auto* parser = app.add_subcommand(
      "connectivity",
      "loss and error on the line between networks, and their barriers; without --between, of all "
      "consecutive cycles");
  const auto run = add_target(*parser, "RUN", "run folder");
  auto options = std::make_shared<ConnectivityOptions>();
  auto* between = parser
                      ->add_option("--between", options->between,
                                   "two networks: numbers of cycles, final, initialisation, or "
                                   "checkpoints of any run with the same network")
                      ->expected(2)
                      ->type_name("A B");
  parser->add_flag("--cycles")
      ->description("all consecutive cycles, which is the default")
      ->excludes(between);
  add_count(*parser, "--points", options->points, kLinePoints, "values of alpha");
  add_count(*parser, "--images", options->images, {2, kMostImages}, "training images");
  return {parser, [&shared, run, options] {
            Session session = session_of_run(*run, shared);
            show(connectivity(session, *options), session, shared);
          }};
}

void add_hessian_options(CLI::App& parser, HessianOptions& options) {
  add_count(parser, "--top", options.top, kEigenvalues, "largest eigenvalues");
  parser.add_flag("--trace", options.trace, "also estimate the trace");
  add_count(parser, "--probes", options.probes, kProbes, "random vectors for the trace");
}

Command hessian_command(CLI::App& app, const SharedOptions& shared) {
  auto* parser = app.add_subcommand(
      "hessian", "largest eigenvalues of the Hessian with residuals, and its trace with its error");
  const auto target = add_target(*parser, "RUN|CKPT", "run folder (all kept cycles) or checkpoint");
  auto options = std::make_shared<HessianOptions>();
  add_hessian_options(*parser, *options);
  add_count(*parser, "--images", options->images, {1, kMostImages}, "training images");
  return {parser, [&shared, target, options] {
            Session session = session_on(find_target(*target, shared), shared);
            show(hessian(session, *options), session, shared);
          }};
}

Command flips_command(CLI::App& app, const SharedOptions& shared) {
  auto* parser = app.add_subcommand(
      "flips", "sign flips, overlap of masks, distance, cosine and densities along a run");
  const auto run = add_target(*parser, "RUN", "run folder");
  return {parser, [&shared, run] {
            Session session = session_of_run(*run, shared);
            show(flips(session), session, shared);
          }};
}

Command surface_command(CLI::App& app, const SharedOptions& shared) {
  auto* parser = app.add_subcommand(
      "surface", "the loss on a plane around networks, with the same directions for all of them");
  const auto targets = add_targets(*parser);
  auto options = std::make_shared<SurfaceCommandOptions>();
  add_count(*parser, "--points", options->points, kSurfacePoints, "points per side");
  parser->add_option("--extent", options->extent, "half of the side of the plane")
      ->check(in_range(1e-6, 1e6))
      ->type_name("X")
      ->capture_default_str();
  add_count(*parser, "--images", options->images, {1, kMostImages}, "training images");
  return {parser, [&shared, targets, options] {
            Session session = session_on(find_target(targets->front(), shared), shared);
            const auto networks = networks_of(session, *targets, shared);
            show(surfaces(session, networks, *options), session, shared);
          }};
}

Command structure_command(CLI::App& app, const SharedOptions& shared) {
  auto* parser = app.add_subcommand(
      "structure", "where the kept weights lie inside the layers, against random masks");
  const auto targets = add_targets(*parser);
  return {parser, [&shared, targets] {
            Session session = session_on(find_target(targets->front(), shared), shared);
            const auto networks = networks_of(session, *targets, shared);
            show(structure(session, networks), session, shared);
          }};
}

Command prunes_command(CLI::App& app, const SharedOptions& shared) {
  auto* parser =
      app.add_subcommand("prunes", "loss and accuracy before and after each prune of a run");
  const auto run = add_target(*parser, "RUN", "run folder");
  return {parser, [&shared, run] {
            const std::string folder = expand_home(*run);
            Analysis analysis = prunes(folder);
            analysis.command = shared.command;
            present(analysis, shared.out.empty() ? folder : expand_home(shared.out));
          }};
}

struct AllOptions {
  int64_t images = 0;  ///< 0: the number of images that each analysis uses by itself
  HessianOptions hessian;
};

void show_all(Session& session, const AllOptions& options, const SharedOptions& shared) {
  const std::filesystem::path run = *session.target().run;
  const auto networks = session.networks_of_run(1);
  ConnectivityOptions of_lines;
  HessianOptions of_hessian = options.hessian;
  SurfaceCommandOptions of_surface;
  if (options.images > 0) of_lines.images = of_hessian.images = of_surface.images = options.images;
  if (!read_run(run, ReadRecords::all, renamed_keys()).prunes.empty())
    show(prunes(run), session, shared);
  show(flips(session), session, shared);
  if (networks.size() > 1)
    show(connectivity(session, of_lines), session, shared);
  else
    note(
        fmt::format("{} has the checkpoint of one cycle only, so there is no line between two; run "
                    "it with --set train.keep=cycles",
                    run.string()));
  show(hessian(session, of_hessian), session, shared);
  show(surfaces(session, {networks.back()}, of_surface), session, shared);
}

Command all_command(CLI::App& app, const SharedOptions& shared) {
  auto* parser = app.add_subcommand(
      "all", "prunes, flips, connectivity, hessian and surface, as far as the run allows");
  const auto run = add_target(*parser, "RUN", "run folder");
  auto options = std::make_shared<AllOptions>();
  add_hessian_options(*parser, options->hessian);
  parser
      ->add_option("--images", options->images,
                   "training images of every analysis (default: those of each analysis)")
      ->check(CLI::Range(int64_t{2}, kMostImages))
      ->type_name("N");
  return {parser, [&shared, run, options] {
            Session session = session_of_run(*run, shared);
            show_all(session, *options, shared);
          }};
}

Command evaluate_command(CLI::App& app, SharedOptions& shared) {
  auto* parser = app.add_subcommand("evaluate",
                                    "accuracy, loss, accuracy per class and a table of confusions");
  const auto target = add_target(*parser, "CKPT", "checkpoint, or run folder (its final network)");
  parser
      ->add_option_function<std::string>(
          "--data",
          [&shared](const std::string& folder) {
            shared.settings.emplace_back("data.root", "--data", folder);
          },
          "the same as --set data.root=DIR")
      ->type_name("DIR");
  return {parser, [&shared, target] {
            Session session = session_on(find_target(*target, shared), shared);
            show(evaluation(session, network_of(session)), session, shared);
          }};
}

Command compare_command(CLI::App& app, const SharedOptions& shared) {
  auto* parser = app.add_subcommand(
      "compare", "sign flips, overlap of masks, distance and cosine of two networks, by layer");
  const auto first = add_target(*parser, "CKPT_A", "checkpoint, or run folder (its final network)");
  const auto second =
      add_target(*parser, "CKPT_B", "checkpoint, or run folder (its final network)");
  return {parser, [&shared, first, second] {
            const Target a = find_target(*first, shared);
            const Target b = find_target(*second, shared);
            Session session = session_on(a, shared);
            const NamedNetwork network = network_of(session);
            const NamedNetwork other =
                session.named(b.checkpoint ? b.checkpoint->string()
                                           : RunFolder(*b.run).final_checkpoint().string());
            show(comparison(session, network, other), session, shared);
          }};
}

/// Throws UsageError if a checkpoint of a run would be overwritten.
void require_no_checkpoint(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return;
  std::string format;
  try {
    format = safetensors::File::read(path, /*require_checksum=*/false).metadata("format");
  } catch (const Error&) {
    return;  // The file is something else, or lacks the key.
  }
  if (age_of(format, kCheckpointFormat) != FormatAge::unknown ||
      age_of(format, kStateFormat) != FormatAge::unknown)
    throw UsageError(fmt::format(
        "{} is a checkpoint of a run and would lose its masks; choose another file with --out",
        path.string()));
}

Command export_command(CLI::App& app, const SharedOptions& shared) {
  auto* parser = app.add_subcommand(
      "export", "write a network without masks, with the names of PyTorch, to a safetensors file");
  const auto target = add_target(*parser, "CKPT", "checkpoint, or run folder (its final network)");
  auto file = std::make_shared<std::string>();
  parser->add_option("--out", *file, "the file to write")->required()->type_name("FILE");
  auto compact = std::make_shared<bool>(false);
  auto* dense =
      parser->add_flag("--dense")->description("every weight, masked ones as 0 (the default)");
  parser->add_flag("--compact", *compact, "kept weights and their places only (docs/analyses.md)")
      ->excludes(dense);
  return {parser, [&shared, target, file, compact] {
            const std::filesystem::path path = expand_home(*file);
            require_no_checkpoint(path);
            require_writable(std::filesystem::absolute(path).parent_path());
            Session session(find_target(*target, shared), shared);
            const NamedNetwork network = network_of(session);
            write_exported(path, session.network().parameters(), network.values,
                           *compact ? ExportForm::compact : ExportForm::dense,
                           {{"model", session.options().model.name}});
            say("{} written to {} ({} bytes)\n", network.name, path.string(),
                std::filesystem::file_size(path));
          }};
}

}  // namespace

void add_shared_options(CLI::App& app, SharedOptions& shared) {
  app.require_subcommand(1);
  app.fallthrough();  // lets the shared options stand after the subcommand's name, too
  app.add_option("--config", shared.config,
                 "config of a checkpoint that does not lie in a run folder")
      ->type_name("CONFIG.toml");
  app.add_option("--out", shared.out,
                 "folder that results are written to, in its subfolder analysis (default: the run "
                 "folder)")
      ->type_name("DIR");
  app.add_option_function<std::vector<std::string>>(
         "--set",
         [&shared](const std::vector<std::string>& assignments) {
           shared.settings.insert(shared.settings.end(), assignments.begin(), assignments.end());
         },
         "set one key of the config, such as data.root; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  const auto add_setting = [&](const char* option, const char* key, const char* value) {
    app.add_option_function<std::string>(
           option,
           [&shared, key, option](const std::string& given) {
             shared.settings.emplace_back(key, option, given);
           },
           fmt::format("the same as --set {}={}", key, value))
        ->type_name(value);
  };
  add_setting("--threads", "execution.threads", "N");
  add_setting("--device", "execution.device", "NAME");
}

std::vector<Command> add_commands(CLI::App& app, SharedOptions& shared) {
  return {connectivity_command(app, shared), hessian_command(app, shared),
          flips_command(app, shared),        surface_command(app, shared),
          structure_command(app, shared),    prunes_command(app, shared),
          all_command(app, shared),          evaluate_command(app, shared),
          compare_command(app, shared),      export_command(app, shared)};
}

}  // namespace sculpt::analyze
