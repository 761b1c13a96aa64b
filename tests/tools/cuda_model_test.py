"""Tests the model of tools/cuda_kernels.py. Compilers and the program that surveys are not needed."""
import json
import unittest

from common import TOOLS, run
import cuda_kernels
from cuda_model import compiled, measured, predict, survey, tables

# Two loops in one another, a second one, and a slow path that is not part of the kernel.
LISTING = """
.text._Z6kernelPf:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @P0 EXIT ;
.L_x_0:
        /*0020*/                   IADD3 R1, R1, 0x1, RZ ;
.L_x_1:
        /*0030*/                   LDG.E.128 R4, desc[UR6][R16.64] ;
        /*0040*/                   LDGSTS.E.BYPASS.128 [R2], desc[UR6][R16.64] ;
        /*0050*/                   HMMA.16816.F32.BF16 R4, R8, R10, R4 ;
        /*0060*/                   STG.E.U16 desc[UR6][R16.64], R4 ;
        /*0070*/               @P1 BRA `(.L_x_1) ;
        /*0080*/                   STG.E desc[UR6][R16.64], R4 ;
        /*0090*/               @P2 BRA `(.L_x_0) ;
.L_x_2:
        /*00a0*/                   LDG.E.64 R4, desc[UR6][R16.64] ;
        /*00b0*/              @!P3 BRA `(.L_x_2) ;
        /*00c0*/                   EXIT ;
.L_x_3:
        /*00d0*/                   BRA `(.L_x_3);
        /*00e0*/                   NOP ;
        .weak           $__internal_0_$__cuda_sm20_rcp_rn_f32_slowpath
$__internal_0_$__cuda_sm20_rcp_rn_f32_slowpath:
        /*0100*/                   MUFU.RCP R0, R0 ;
"""
# A loop that loads, and two loops that multiply.
JOINT_LISTING = """
.text._Z6kernelPf:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   LDG.E.128 R4, desc[UR6][R16.64] ;
        /*0020*/               @P1 BRA `(.L_x_0) ;
.L_x_1:
        /*0030*/                   HMMA.16816.F32.BF16 R4, R8, R10, R4 ;
        /*0040*/                   HMMA.16816.F32.BF16 R4, R8, R10, R4 ;
        /*0050*/                   IADD3 R1, R1, 0x1, RZ ;
        /*0060*/               @P1 BRA `(.L_x_1) ;
.L_x_2:
        /*0070*/                   HMMA.16816.F32.BF16 R4, R8, R10, R4 ;
        /*0080*/                   STG.E.64 desc[UR6][R16.64], R4 ;
        /*0090*/               @P1 BRA `(.L_x_2) ;
        /*00a0*/                   EXIT ;
"""
PTXAS = """
ptxas info    : Compiling entry function '_Z6kernelPf' for 'sm_90'
ptxas info    : Function properties for _Z6kernelPf
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 512 bytes smem
"""


def kernel_with(once, hot, registers=64):
    return compiled.Kernel("file.cu", "kernel", registers, 0, 0, compiled.Part(*once), compiled.Part(*hot))


class Compiled(unittest.TestCase):
    def test_loops_and_instructions(self):
        code = compiled.read_functions(LISTING)["_Z6kernelPf"]
        self.assertEqual(len(code), 15)  # the slow path is left out
        self.assertEqual(compiled.loops_of(code), [(2, 9), (3, 7), (10, 11)])
        once, hot, loading = compiled.divide(code)
        self.assertEqual(hot, compiled.Part(5, 1, 16 + 16 + 2))
        self.assertEqual(once, compiled.Part(9, 0, 4 + 8))
        self.assertEqual(loading, compiled.Part())

    def test_without_matrix_products_the_innermost_loop_that_moves_most(self):
        code = compiled.read_functions(LISTING.replace("HMMA.16816.F32.BF16", "FFMA"))["_Z6kernelPf"]
        self.assertEqual(compiled.divide(code)[1].moved_bytes, 34)

    def test_a_kernel_without_loops_is_executed_once(self):
        code = compiled.read_functions(LISTING.split(".L_x_0")[0])["_Z6kernelPf"]
        self.assertEqual(compiled.divide(code), (compiled.Part(2), compiled.Part(), compiled.Part()))

    def test_loops_that_share_the_products_are_joined(self):
        once, hot, loading = compiled.divide(compiled.read_functions(JOINT_LISTING)["_Z6kernelPf"])
        # The loop of one product takes two turns for one of the other loop.
        self.assertEqual(hot, compiled.Part(4 + 2 * 3, 2 + 2, 2 * 8))
        self.assertEqual(loading, compiled.Part(2, 0, 16))
        self.assertEqual(once, compiled.Part(2, 0, 0))
        copies = JOINT_LISTING.replace("IADD3 R1, R1, 0x1, RZ", "NOP").replace(
            "        /*0040*/                   HMMA.16816.F32.BF16 R4, R8, R10, R4 ;\n", "")
        self.assertEqual(compiled.divide(compiled.read_functions(copies)["_Z6kernelPf"])[2], compiled.Part())

    def test_resources(self):
        self.assertEqual(compiled.read_resources(PTXAS), {"_Z6kernelPf": (40, 512, 20)})

    def test_names_lose_namespaces_and_arguments(self):
        self.assertEqual(compiled.short_names(["_ZN6sculpt7kernels4cuda4kindILi3EEEvPf"]), ["kind<3>"])
        # Compilers for the host and for GPUs write the same kernel differently.
        self.assertEqual(compiled.short_name("void sculpt::kernels::cuda::(anonymous namespace)::go<Tile<(int)3> >"
                                             "(Pass<(bool)1>)"), "go<Tile<3>>")


class Survey(unittest.TestCase):
    def entry(self, products=10, copied=0, **changes):
        launch = {"kernel": 16, "spelled": "(run<T>)", "grid": [10, 2, 1], "block": [64, 1, 1], "shared_bytes": 100,
                  "sampled_blocks": 5, "matrix_products": products, "copied_bytes": copied, "read_bytes": 30,
                  "written_bytes": 20}
        one = {"op": "relu, forward", "name": "relu1", "shape": "8x4x4", "bytes": 0, "flops": 0,
               "launches": [launch]}
        return json.dumps({"batch": 1, "passes": [{**one, **changes}]})

    def launch(self, kernel="run", products=10, **changes):
        return survey.read_survey(self.entry(products, **changes), {16: kernel})[1][0].launches[0]

    def test_work_is_scaled_from_the_sampled_blocks_to_the_grid(self):
        launch = self.launch()
        self.assertEqual((launch.blocks, launch.warps), (20, 40))
        self.assertEqual((launch.matrix_products, launch.moved_bytes, launch.least_bytes), (40, 200, 200))

    def test_bytes_of_convolutions_are_those_of_the_pass(self):
        layer = {"flops": 8, "bytes": 900}
        self.assertEqual(self.launch("multiply<bf16>", **layer).least_bytes, 900)
        self.assertEqual(self.launch("forward<bf16>", 0, **layer).least_bytes, 900)
        layer |= {"op": "conv2d, backward", "input_grad_bytes": 500, "weight_grad_bytes": 400}
        self.assertEqual(self.launch("multiply<bf16>", **layer).least_bytes, 500)
        self.assertEqual(self.launch("gemm<WeightGradPass<bf16>>", **layer).least_bytes, 400)
        self.assertEqual(self.launch("weight_grad<bf16>", 0, **layer).least_bytes, 400)
        self.assertEqual(self.launch("add_partials", 0, **layer).least_bytes, 200)

    def test_blocks_along_y_of_a_joint_pass_read_the_same_images(self):
        layer = {"op": "conv2d, backward", "flops": 8, "bytes": 900, "input_grad_bytes": 500, "weight_grad_bytes": 400}
        # There are 4 times as many blocks as were sampled. They read 120 bytes and copy 40, in pairs along y.
        launch = self.launch("norm_backward_on_images<Layer>", copied=10, **layer)
        self.assertEqual((launch.moved_bytes, launch.least_bytes), (120 + 40 + 80, (120 + 40) / 2 + 80))

    def test_a_normalised_input_is_read_once(self):
        layer = {"op": "conv2d, backward", "shape": "2x3x1 -> 2x3x1, weight 2x2x3x3", "flops": 8, "bytes": 900}
        launch = self.launch("norm_backward_on_images<Layer>", **layer)
        self.assertEqual(launch.moved_bytes, 120 + 80)
        self.assertEqual(launch.least_bytes, 120 / 2 + 80 - 2 * 2 * 3 / 2)  # a batch of 1 in bf16, for 2 blocks along y

    def test_overlapping_windows_are_read_once(self):
        self.assertEqual(self.launch(bytes=50).least_bytes, 50)
        self.assertEqual(self.launch(bytes=500).least_bytes, 200)

    def test_a_stripped_program_is_named(self):
        with self.assertRaisesRegex(SystemExit, "no symbol of the program is the kernel .run<T>.: was it stripped"):
            survey.read_survey(self.entry(), {})

    def test_program_is_missing(self):
        done = run(TOOLS / "cuda_kernels.py", "--survey", "nowhere/survey")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^error: nowhere/survey does not exist: build it")


class Predict(unittest.TestCase):
    gpu = predict.Gpu("GPU", 10, 1e9, 1e12, {"bf16": 1e14}, 0.5, 100 << 10)

    def launch(self, blocks, products=0.0, moved=0.0, least=0.0):
        return survey.Launch("kernel", blocks, 64, 0, products, moved, least)

    def test_instructions_follow_the_work(self):
        # 20 warps make 200 matrix products: 10 each, of which 2 lie before the loop and 4 in each turn.
        kernel = kernel_with((100, 2, 0), (30, 4, 0))
        self.assertEqual(predict.instructions_of(kernel, self.launch(10, products=200)),
                         20 * (predict.ONCE_SHARE * 100 + 2 * 30))
        # 640 threads move 32 bytes each, 16 of them in each turn.
        kernel = kernel_with((100, 0, 0), (30, 0, 16))
        self.assertEqual(predict.instructions_of(kernel, self.launch(10, moved=640 * 32)),
                         20 * (predict.ONCE_SHARE * 100 + 2 * 30))
        self.assertEqual(predict.instructions_of(kernel_with((100, 0, 0), ()), self.launch(10)),
                         20 * predict.ONCE_SHARE * 100)

    def test_a_loop_that_loads_moves_the_other_bytes(self):
        # A thread moves 48 bytes: 2 * 4 in the two turns of the hot loop, and 40 in 5 turns of the other one.
        kernel = kernel_with((100, 0, 0), (30, 4, 4))
        kernel.loading = compiled.Part(10, 0, 8)
        self.assertEqual(predict.instructions_of(kernel, self.launch(10, products=20 * 8, moved=640 * 48)),
                         20 * (predict.ONCE_SHARE * 100 + 2 * 30 + 5 * 10))

    def test_the_longest_time_counts(self):
        kernel = kernel_with((0, 0, 0), (10, 1, 0))
        time = predict.time_of(kernel, self.launch(10, products=2000, least=7.9e6), self.gpu, "bf16")
        self.assertAlmostEqual(time.issue, 20000 / (40e9 * predict.ISSUE_SHARE))
        self.assertAlmostEqual(time.products, 2000 * 4096 / 0.5e14)
        self.assertAlmostEqual(time.memory, 7.9e6 / (1e12 * predict.BANDWIDTH_SHARE))
        self.assertAlmostEqual(time.total, time.memory + predict.LAUNCH_SECONDS)
        self.assertEqual(time.bound, "memory")

    def test_a_kernel_that_overlaps_costs_less(self):
        kernel = kernel_with((10, 0, 0), ())
        apart = predict.time_of(kernel, self.launch(10), self.gpu, "bf16").total
        kernel.overlaps = True
        together = predict.time_of(kernel, self.launch(10), self.gpu, "bf16").total
        self.assertAlmostEqual(apart - together, predict.LAUNCH_SECONDS - predict.OVERLAPPED_SECONDS)

    def test_idle_multiprocessors_cost_time(self):
        kernel = kernel_with((0, 0, 0), (10, 1, 0), registers=255)  # 2 warps of 65536 / 8192 registers: 4 blocks

        def issue(blocks):
            return predict.time_of(kernel, self.launch(blocks, products=100 * blocks), self.gpu, "bf16").issue

        self.assertEqual(predict.blocks_per_processor(kernel, self.launch(1), self.gpu), 4)
        self.assertAlmostEqual(issue(10), issue(1))        # one block on each of ten multiprocessors
        self.assertAlmostEqual(issue(41), 2 * issue(40))   # a second wave for one block
        self.assertAlmostEqual(issue(80), 2 * issue(40))

    def test_what_limits_the_blocks_of_a_multiprocessor(self):
        def blocks(threads, shared, registers):
            launch = survey.Launch("kernel", 1, threads, shared, 0, 0, 0)
            return predict.blocks_per_processor(kernel_with((), (), registers), launch, self.gpu)

        self.assertEqual(blocks(32, 0, 16), 32)
        self.assertEqual(blocks(1024, 0, 16), 2)
        self.assertEqual(blocks(128, 24 << 10, 16), 4)
        self.assertEqual(blocks(256, 0, 128), 2)


class Measured(unittest.TestCase):
    REPORT = """### Every kernel of a step by itself

| kernel | shape | calls per step | us per call | MB |
|---|---|---|---|---|
| conv2d, forward | 16x32x32 -> 16x32x32, weight 16x16x3x3 | 6 | 50.0 | 33.5 |
| conv2d, forward | 3x32x32 -> 16x32x32, weight 16x3x3x3 | 1 | damaged
| load | | 1 | 20.0 | 1.0 |

| kernel | us |
|---|---|
| conv2d forward | 1.0 |
"""

    def test_rows(self):
        times = {row: round(seconds * 1e6, 3) for row, seconds in measured.read_times(self.REPORT).items()}
        self.assertEqual(times, {("conv2d, forward", "16x32x32 -> 16x32x32, weight 16x16x3x3"): 50,
                                 ("load", ""): 20})

    def test_errors_stand_in_the_table(self):
        one = survey.Pass("load", "", "", 0, [])
        lines, errors = tables.shape_table([(one, predict.Time(total=25e-6)), (one, predict.Time(total=27e-6))],
                                           {("load", ""): 20e-6})
        self.assertEqual(lines[-1], "| load |  | 2 | 26.0 | issue | 20.0 | +30 % |")
        self.assertEqual([round(error, 3) for error in errors], [1.3])

    def test_a_report_without_the_table(self):
        done = run(TOOLS / "cuda_kernels.py", "--measured", TOOLS / "cuda_kernels.py")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "cuda_kernels.py has no table of `sculpt_bench kernels`")


class Names(unittest.TestCase):
    def test_kernels_of_one_name_must_be_alike(self):
        alike, other = kernel_with((1, 0, 0), ()), kernel_with((2, 0, 0), ())
        self.assertEqual(cuda_kernels.by_name([alike, kernel_with((1, 0, 0), ())]), {"kernel": alike})
        self.assertEqual(cuda_kernels.by_name([alike, other]), {})
        launch = survey.Launch("kernel", 1, 32, 0, 0, 0, 0)
        passes = [survey.Pass("load", "", "", 0, [launch])]
        cuda_kernels.require_kernels(passes, {"kernel": alike})
        with self.assertRaisesRegex(SystemExit, "a step launches kernel, but kernels/cuda has no kernel of this name"):
            cuda_kernels.require_kernels(passes, {})


class Arguments(unittest.TestCase):
    def test_steps(self):
        self.assertEqual(cuda_kernels.parse_steps("resnet20:512:32,lenet:4:28"),
                         [("resnet20", 512, 32), ("lenet", 4, 28)])
        done = run(TOOLS / "cuda_kernels.py", "--steps", "resnet20")
        self.assertEqual(done.returncode, 2)
        self.assertIn("expected MODEL:BATCH:PIXELS", done.stderr)


if __name__ == "__main__":
    unittest.main()
