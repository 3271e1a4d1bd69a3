"""A Python package whose modules import each other, as an application's do: a graph without cycles, in layers."""

import random
from pathlib import Path

NAME = "appkit"
LAYERS = ("base", "model", "storage", "text", "net", "service", "jobs", "web")
IMPORTS_MOST = 4
FUNCTIONS = (4, 40)  # in a module: 1 to 10 KiB
MODULUS = 1_000_003

FUNCTION = '''
def step_{number}(values, limit={limit}):
    """Fold the values that are below the limit into one number."""
    total = {seed}
    for position, value in enumerate(values):
        if value < limit:
            total = (total * 31 + value + position) % {modulus}
    return total
'''


def write_package(root: Path, modules: int) -> None:
    """Write the package below ``root``, the same each time."""
    chooser = random.Random(13)
    graph = choose_imports(modules, chooser)
    for number, imports in enumerate(graph):
        path = root / (module_name(number, modules).replace(".", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        names = [module_name(other, modules) for other in imports]
        path.write_text(module_text(number, names, chooser))
    (root / NAME / "__init__.py").write_text(f'"""{modules} modules."""\n')
    used = {other for imports in graph for other in imports}
    tops = [module_name(n, modules) for n in range(modules) if n not in used]
    (root / NAME / "main.py").write_text(module_text(modules, tops, chooser))


def choose_imports(modules: int, chooser: random.Random) -> list[list[int]]:
    """For each module those that it imports: earlier ones only, near ones rather than far ones."""
    graph: list[list[int]] = []
    for number in range(modules):
        wanted = chooser.randint(1, IMPORTS_MOST)
        back = [1 + int(chooser.expovariate(1 / 15)) for _ in range(wanted)]
        graph.append(sorted({number - step for step in back if number >= step}))
    return graph


def module_name(number: int, modules: int) -> str:
    """The whole name of a module; a later one lies in the same layer or in a higher one."""
    layer = LAYERS[number * len(LAYERS) // modules]
    return f"{NAME}.{layer}.part_{number:03d}"


def module_text(number: int, imports: list[str], chooser: random.Random) -> str:
    """A module with functions, whose ``VALUE`` depends on that of every module it imports."""
    lines = [f'"""Part {number}."""', ""]
    lines += [f"from {name} import VALUE as value_{place}" for place, name in enumerate(imports)]
    functions = [
        FUNCTION.format(number=n, limit=10 * n + 7, seed=chooser.randrange(999), modulus=MODULUS)
        for n in range(chooser.randint(*FUNCTIONS))
    ]
    values = "".join(f"value_{place}, " for place in range(len(imports)))
    return "\n".join([*lines, *functions, f"VALUE = step_0([{values}{number}], {MODULUS})", ""])
