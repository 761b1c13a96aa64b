#pragma once
// Made-up records of runs, and a look into the reports that are made from them.

#include <cmath>
#include <doctest/doctest.h>
#include <random>
#include <stdexcept>
#include <string>

#include "engine/report/run_report.h"
#include "engine/report/study_report.h"

namespace sculpt::testing {

/// Returns a finished run with random curves, two cycles and a prune between them.
inline RunRecords random_run(std::mt19937& random, int64_t epochs = 10) {
  std::uniform_real_distribution<double> share(0.2, 0.9);
  RunRecords run;
  run.folder = "runs/<first> & \"second\"";
  run.status = RunStatus::finished;
  run.config = {{"format", "sculpt-config-2"}, {"method", "lrr"},      {"seed", "1"},
                {"model.name", "resnet20"},    {"data.name", "mnist"}, {"optim.lr", "0.1"},
                {"execution.threads", "0"}};
  run.environment = {{"device", "cpu"},    {"backend", "cpu-avx2"}, {"threads", "3"},
                     {"version", "0.1.0"}, {"commit", "abc"},       {"data_fingerprint", "77"}};
  for (int64_t i = 1; i <= epochs; ++i) {
    EpochMetrics epoch;
    epoch.epoch = i;
    epoch.cycle = i <= epochs / 2 ? 1 : 2;
    epoch.cycle_epoch = i <= epochs / 2 ? i : i - epochs / 2;
    epoch.lr = share(random);
    epoch.train_loss = share(random);
    epoch.train_accuracy = share(random);
    if (i % 2 == 0 || i == epochs / 2) epoch.test_accuracy = share(random);
    epoch.test_loss = epoch.test_accuracy + 1;
    epoch.density = i <= epochs / 2 ? 1 : 0.25;
    epoch.images_per_second = 1000 * share(random);
    epoch.seconds = 2;
    run.epochs.push_back(epoch);
  }
  PruneRecord prune;
  prune.plan_step = 1;
  prune.epoch = epochs / 2;
  prune.criterion = "magnitude";
  prune.allocation = "global";
  prune.density = 0.25;
  prune.prunable = 400;
  prune.kept = 100;
  prune.test_loss = 2.5;
  prune.test_accuracy = 0.125;
  run.prunes = {prune};
  for (const char* name : {"conv1.weight", "fc.weight"}) {
    LayerRecord layer;
    layer.plan_step = 1;
    layer.epoch = epochs / 2;
    layer.changed_by = "magnitude";
    layer.is_prune = true;
    layer.layer = name;
    layer.count = 200;
    layer.kept = name[0] == 'c' ? 80 : 20;
    run.layers.push_back(layer);
  }
  run.summary = {{"test_accuracy", run.epochs.back().test_accuracy},
                 {"sparsity", 0.75},
                 {"kept", 100},
                 {"prunable", 400},
                 {"train_flops_vs_dense", 1.25},
                 {"train_flops", 1e12},
                 {"seconds", 100},
                 {"train_loss", 0.5}};
  run.summary_texts = {{"evaluated_on", "test"}};
  return run;
}

inline ReportContext context() {
  ReportContext context;
  context.defaults = {{"format", "sculpt-config-2"}, {"method", "dense"},    {"seed", "1"},
                      {"model.name", "resnet20"},    {"data.name", "mnist"}, {"optim.lr", "0.2"},
                      {"execution.threads", "0"},    {"optim.ham", "false"}};
  context.without_effect = {"execution.threads", "data.root"};
  context.written_by = "Written by a test.";
  return context;
}

inline const Figure& figure_named(const Report& report, const std::string& name) {
  for (const Section& section : report.sections)
    for (const Figure& figure : section.figures)
      if (figure.name == name) return figure;
  FAIL("no figure ", name);
  throw std::runtime_error("unreachable");
}

inline const Table& table_named(const Report& report, const std::string& name) {
  for (const Section& section : report.sections)
    for (const Table& table : section.tables)
      if (table.name == name) return table;
  FAIL("no table ", name);
  throw std::runtime_error("unreachable");
}

inline ReportedRun finished_run(std::string series, double sparsity, int seed, double accuracy) {
  ReportedRun run;
  run.name = series + "-s" + std::to_string(seed);
  run.series = std::move(series);
  run.records.status = RunStatus::finished;
  run.records.folder = "runs/" + run.name;
  run.records.config = {{"method", run.series}, {"seed", std::to_string(seed)}};
  run.records.summary = {{"test_accuracy", accuracy},
                         {"sparsity", sparsity},
                         {"train_flops_vs_dense", 2 * (1 - sparsity)},
                         {"train_loss", 1 - accuracy},
                         {"seconds", 10.0 * seed}};
  return run;
}

}  // namespace sculpt::testing
