"""Every kernel for every architecture, through NVRTC, on a machine without a GPU: registers, spills, shared memory."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys

import pytest

from . import fakecupy

ARCHITECTURES = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90a", "sm_100", "sm_120"]  # as `target` names them
FILES = [
    "candidates", "costs", "few", "hopper", "medians", "moves", "nearest", "ranks", "samples", "scan", "seeds", "settled",
    "silhouette", "solve", "tensor", "totals", "trials",
]  # fmt: skip
ONLY = {"hopper": ["sm_90a"]}
REGISTERS = {  # two blocks of 256 threads on a multiprocessor; three; one of 640; one of 384
    "score": 128, "narrow": 128, "try": 128, "row": 128, "refine": 128, "locate": 128, "sum": 80, "add": 80,
    "collect": 96, "hopper.score": 168,
}  # fmt: skip
OF_FLOATS = {"try": 80, "row": 80}  # three; of f32
MOST = 64  # of the others: four
SPILLS = {  # bytes stored and loaded
    ("nearest.score", "sm_100"): 152,  # among the 544 instructions of its inner loop
    ("candidates.narrow", "sm_75"): 24,  # where a tile begins: what is the same for all of them
    ("candidates.narrow", "sm_80"): 96,
    ("candidates.narrow", "sm_86"): 96,
    ("candidates.narrow", "sm_89"): 96,
    ("candidates.narrow", "sm_90a"): 104,
}
OPCODES = {  # how often at least
    "nearest.score_l1": {"FADD": 512, "LDGSTS": 4},
    "nearest.score_l2": {"FADD": 256, "FFMA": 256, "LDGSTS": 4},
    "tensor.score_64": {"HMMA.16816.F32": 16, "LDSM.16.M88.4": 6, "LDGSTS": 8},
    "candidates.narrow_64": {"HMMA.16816.F32": 16, "LDSM.16.M88.4": 6, "LDGSTS": 8},
    "hopper.score": {"USETMAXREG": 2, "HGMMA.64x128x16.F32": 8, "UBLKCP": 1, "SYNCS": 8},
    "moves.sum_moves_f32": {"REDG.E.ADD.F64": 4},
    "moves.count_moves": {"ATOMS.POPC.INC": 4, "REDG.E.ADD": 4},
    "moves.place_moves": {"ATOMS.ADD": 16, "ATOMG.E.ADD": 16},
    "ranks.count_ranks_f32": {"ATOMS.POPC.INC": 3, "REDG.E.ADD": 6},
    "medians.count_digits_f32": {"ATOMS.POPC.INC": 1, "ATOMG.E.ADD": 2, "ATOMG.E.EXCH": 1},
    "samples.guess_f32": {"ATOMS.POPC.INC": 1, "LDG": 16},
    "samples.collect_f32": {"ATOMS.POPC.INC": 1, "LDG": 16, "STS": 16},
}


@pytest.fixture(scope="module")
def kernels():
    """The loader with the real CuPy, of which it only needs NVRTC."""
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed: pip install -e '.[compile]'", exc_type=ImportError)
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:  # CuPy's own types
        pytest.skip(f"NVRTC is not installed ({type(error).__name__}): pip install -e '.[compile]'")
    with fakecupy.as_cupy(sys.modules, None):
        from gpuclust.backends import cuda_kernels

        yield cuda_kernels


def report(kernels, file, arch):
    """Registers and bytes spilled of each kernel of a file."""
    return measured(kernels, kernels.source(file), f"{file}.cu", arch)


def measured(kernels, source, name, arch):
    nvrtc = kernels.nvrtc
    program = nvrtc.createProgram(source, name, (), ())
    try:
        nvrtc.compileProgram(program, (f"-arch={arch}", *kernels.OPTIONS, "--ptxas-options=-v"))
        log = nvrtc.getProgramLog(program)
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    finally:
        nvrtc.destroyProgram(program)
    assert "Potential Performance Loss" not in log  # `wgmma` that wait for each other
    pattern = r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers"
    return {
        name: (int(registers), int(stores) + int(loads))
        for name, stores, loads, registers in re.findall(pattern, log, re.DOTALL)
    }


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("file", FILES)
def test_kernels_keep_to_their_registers(kernels, file, arch):
    if arch not in ONLY.get(file, ARCHITECTURES):
        pytest.skip(f"{file}.cu is for {', '.join(ONLY[file])} only")
    found = report(kernels, file, arch)
    assert found
    if file == "hopper":  # fewer, and a group waits for ever for registers that nobody gives
        assert found["score"][0] == 168
    for name, (registers, spilled) in found.items():
        family = name.split("_")[0]
        most = REGISTERS.get(f"{file}.{family}", REGISTERS.get(family, MOST))
        assert registers <= (OF_FLOATS.get(family, most) if "_f32" in name else most), name
        assert spilled <= SPILLS.get((f"{file}.{family}", arch), 0), name


@pytest.mark.parametrize("kernel", OPCODES)
def test_the_instructions_that_a_design_rests_on(kernels, kernel, tmp_path):
    """Of sm_90a."""
    file, _, name = kernel.partition(".")
    found = disassembled(kernels.compiled(kernels.source(file), file, "sm_90a"), name, tmp_path)
    for opcode, least in OPCODES[kernel].items():
        assert sum(each.startswith(opcode) for each in found) >= least, opcode


def test_the_number_of_a_center_takes_one_operation(kernels, tmp_path):
    """A thread's 128 bounds of a tile, on Hopper; `all_but` is of no use where the compiler sees through it."""
    found = disassembled(kernels.compiled(kernels.source("hopper"), "hopper", "sm_90a"), "score", tmp_path)
    assert found.count("LOP3.LUT") < 2 * 128


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_kernels_of_the_benchmarks_compile(kernels, arch):
    from benchmarks import rates

    found = measured(kernels, rates.source(), "rates.cu", arch)
    assert len(found) == 5 and all(registers <= 128 and not spilled for registers, spilled in found.values())


def test_bytes_are_compared_four_at_a_time(kernels, tmp_path):
    from benchmarks import rates

    code = disassembled(kernels.compiled(rates.source(), "rates", "sm_90a"), "tile_bytes", tmp_path)
    assert sum(each.startswith("VABSDIFF4.U8.ACC") for each in code) >= 64


def disassembled(binary, kernel, folder):
    """The instructions of a kernel."""
    (folder / "a.cubin").write_bytes(binary)
    done = subprocess.run([disassembler(), folder / "a.cubin"], capture_output=True, text=True, check=True)
    code = done.stdout.partition(f".text.{kernel}:")[2].partition(".section")[0]
    return re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", code)


def disassembler():
    """The path of nvdisasm, or a skip."""
    try:
        files = importlib.metadata.files("nvidia-cuda-nvdisasm") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for path in files:
        if path.name == "nvdisasm":
            return path.locate()
    pytest.skip("nvdisasm is not installed: pip install -e '.[compile]'")


def test_every_source_is_compiled(kernels):
    assert sorted(FILES) == sorted(path.stem for path in kernels.SOURCES.glob("*.cu"))


def test_a_binary_is_whole(kernels):
    data = kernels.compiled(kernels.source("costs"), "costs", "sm_80")
    assert data[:4] == b"\x7fELF"
    sections = int.from_bytes(data[40:48], "little")  # where the table of 64-byte section headers starts
    count = int.from_bytes(data[60:62], "little")
    assert len(data) >= sections + 64 * count


def test_a_fault_is_told_with_the_compiler_s_words(kernels):
    with pytest.raises(RuntimeError, match=r"costs.cu for sm_80: (.|\n)*undefined_name"):
        kernels.compiled("__global__ void f() { undefined_name(); }", "costs", "sm_80")


def test_text_for_architectures_to_come(kernels):
    assert b".target sm_90" in kernels.compiled(kernels.source("costs"), "costs", "compute_90")
