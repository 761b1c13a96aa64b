#pragma once
// The analyses of sculpt_analyze: each function computes one and returns it as data that reports
// show. docs/analyses.md has the conventions.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "apps/sculpt_analyze/session.h"
#include "engine/report/analysis_file.h"

namespace sculpt::analyze {

struct ConnectivityOptions {
  std::vector<std::string> between;  ///< two names of networks; empty: all consecutive cycles
  int64_t points = 30;
  int64_t images = 2048;  ///< training images for the curve and for batch norm's statistics
};
Analysis connectivity(Session& session, const ConnectivityOptions& options);

struct HessianOptions {
  int64_t top = 1;        ///< eigenvalues
  bool trace = false;     ///< also estimate the trace
  int64_t probes = 30;    ///< of the trace
  int64_t images = 4096;  ///< training images
};
/// Analyses the checkpoint that the session's target names, or all kept cycles of a run.
Analysis hessian(Session& session, const HessianOptions& options);

/// Compares consecutive cycles of a run, and each of them with the initialisation.
Analysis flips(Session& session);

struct SurfaceCommandOptions {
  int64_t points = 25;
  double extent = 1;
  int64_t images = 512;
};
/// Measures the surfaces around these networks, with the same random directions.
Analysis surfaces(Session& session, const std::vector<NamedNetwork>& networks,
                  const SurfaceCommandOptions& options);

/// Reads the records of a run; needs no network.
Analysis prunes(const std::filesystem::path& run_folder);

/// Measures a network on the session's test images, class by class.
Analysis evaluation(Session& session, const NamedNetwork& network);

/// Describes the masks of these networks, layer by layer, and compares them with random masks.
Analysis structure(Session& session, const std::vector<NamedNetwork>& networks);

/// Compares two networks layer by layer.
Analysis comparison(Session& session, const NamedNetwork& a, const NamedNetwork& b);

}  // namespace sculpt::analyze
