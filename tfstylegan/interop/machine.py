"""A pickle machine that imports nothing and calls nothing but what it is given.

It runs the opcodes of protocols 2 to 5 (Python's `pickletools` documents them) that
plain data need. What `GLOBAL` names is looked up in a table of `Global`s and nowhere
else; every other opcode that could reach code is unknown to it.
"""

import pickle
import pickletools
import struct
from collections.abc import Callable, Mapping

from tfstylegan.interop.restricted import (
    Budget,
    Global,
    PickleError,
    Stateful,
    checked_keys,
    kind_of,
    set_items,
    short,
)

LONGEST_INT = 16  # bytes; the magic number of torch files has 10
OPCODE_NAMES = {op.code.encode("latin-1"): op.name for op in pickletools.opcodes}


class Machine:
    """Runs the pickles in `data`, one after the other.

    `names` maps (module, name) to the Global it stands for; `persistent(id)` makes
    what a persistent id stands for, None refuses them. After each `load`, `position`
    is behind that pickle. Lists, tuples, dicts, sets, str, bytes and numbers are those
    of Python; strings of Python 2 are read as latin-1.
    """

    def __init__(
        self,
        data: bytes,
        names: Mapping[tuple[str, str], Global],
        budget: Budget,
        *,
        persistent: Callable[[object], object] | None = None,
    ):
        self.data = data
        self.names = names
        self.budget = budget
        self.position = 0
        self.persistent = persistent
        self.memo = {}
        self.stack = []
        self.outer = []  # the stacks below each mark

    def load(self) -> object:
        """The next pickle's object. Raises PickleError."""
        self.memo, self.stack, self.outer = {}, [], []
        while True:
            self.budget.spend(1)
            code = self.take(1)
            if code == pickle.STOP:
                return self.pop()
            handler = HANDLERS.get(code)
            if handler is None:
                name = OPCODE_NAMES.get(code, short(code.hex()))
                raise PickleError(
                    f"the pickle has opcode {name} at byte {self.position - 1}, which "
                    "network data do not need."
                )
            handler(self)

    def need(self, count: int) -> None:
        """Refuses to go on unless `count` bytes are left."""
        left = len(self.data) - self.position
        if not 0 <= count <= left:
            raise PickleError(
                f"the pickle asks for {count} bytes at byte {self.position}, where "
                f"{left} are left."
            )

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        self.need(count)
        self.position += count
        return self.data[self.position - count : self.position]

    def view(self, count: int) -> memoryview:
        """The next `count` bytes, not copied."""
        self.need(count)
        self.position += count
        return memoryview(self.data)[self.position - count : self.position]

    def number(self, form: str) -> int | float:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + 256)
        if end < 0:
            raise PickleError(f"no name ends near byte {self.position}.")
        name = self.take(end - self.position)
        self.position += 1
        return name.decode("latin-1")

    def protocol(self, number: int) -> None:
        if number > pickle.HIGHEST_PROTOCOL:
            raise PickleError(f"the pickle has protocol {number}.")

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> object:
        if not self.stack:
            raise PickleError(f"the stack is empty at byte {self.position}.")
        return self.stack.pop()

    def top(self, *types: type) -> object:
        """What lies on top, which has to be one of `types`."""
        if not self.stack or type(self.stack[-1]) not in types:
            found = kind_of(self.stack[-1]) if self.stack else "nothing"
            wanted = " or ".join(kind.__name__ for kind in types)
            raise PickleError(
                f"byte {self.position} adds to {found}, which is no {wanted}."
            )
        return self.stack[-1]

    def mark(self) -> None:
        self.outer.append(self.stack)
        self.budget.check_depth(len(self.outer))
        self.stack = []

    def pop_mark(self) -> list:
        if not self.outer:
            raise PickleError(f"no mark is left at byte {self.position}.")
        items, self.stack = self.stack, self.outer.pop()
        return items

    def pop_many(self, count: int) -> tuple:
        return tuple(reversed([self.pop() for _ in range(count)]))

    def put(self, index: int) -> None:
        if not self.stack:
            raise PickleError(f"nothing to remember at byte {self.position}.")
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise PickleError(f"memo {index} is empty at byte {self.position}.")
        self.push(self.memo[index])

    def append(self, items) -> None:
        self.top(list).extend(items)

    def set_items(self, items) -> None:
        if len(items) % 2:
            raise PickleError(f"a key without a value at byte {self.position}.")
        set_items(self.top(dict), zip(items[::2], items[1::2]))

    def add(self, items) -> None:
        self.top(set).update(checked_keys(items))

    def find(self, module: object, name: object) -> None:
        if type(module) is not str or type(name) is not str:
            raise PickleError("a global is named by something that is not a string.")
        found = self.names.get((module, name))
        if found is None:
            raise PickleError(
                f"the pickle asks for {short(f'{module}.{name}')[1:-1]}; only network "
                "data are read."
            )
        self.push(found)

    def call(self, *, new: bool) -> None:
        self.budget.spend(5)
        args, function = self.pop(), self.pop()
        if not isinstance(function, Global) or type(args) is not tuple:
            raise PickleError(
                f"the pickle calls {kind_of(function)} with {kind_of(args)}."
            )
        if function.call is None or (new and not function.is_class):
            raise PickleError(f"the pickle calls {function.name}.")
        self.push(function.call(args, self.budget))

    def build(self) -> None:
        self.budget.spend(5)
        state = self.pop()
        target = self.stack[-1] if self.stack else None
        if type(target) is dict and type(state) is dict and len(state) <= 1:
            if "_metadata" in state or not state:
                return  # what torch hangs onto an OrderedDict
        if not isinstance(target, Stateful):
            raise PickleError(f"the pickle sets the state of {kind_of(target)}.")
        target.set_state(state, self.budget)

    def persistent_id(self) -> None:
        if self.persistent is None:
            raise PickleError("the pickle refers to a persistent id outside of it.")
        self.push(self.persistent(self.pop()))

    def text(self, form: str) -> None:
        try:
            self.push(self.take(self.number(form)).decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError as error:
            raise PickleError(
                f"the string before byte {self.position} is not UTF-8."
            ) from error

    def integer(self, form: str) -> None:
        size = self.number(form)
        if size > LONGEST_INT:
            raise PickleError(f"an integer of {size} bytes at byte {self.position}.")
        self.push(int.from_bytes(self.take(size), "little", signed=True))


HANDLERS = {
    pickle.PROTO: lambda m: m.protocol(m.number("<B")),
    pickle.FRAME: lambda m: m.need(m.number("<Q")),
    pickle.NONE: lambda m: m.push(None),
    pickle.NEWTRUE: lambda m: m.push(True),
    pickle.NEWFALSE: lambda m: m.push(False),
    pickle.BININT: lambda m: m.push(m.number("<i")),
    pickle.BININT1: lambda m: m.push(m.number("<B")),
    pickle.BININT2: lambda m: m.push(m.number("<H")),
    pickle.LONG1: lambda m: m.integer("<B"),
    pickle.LONG4: lambda m: m.integer("<i"),
    pickle.BINFLOAT: lambda m: m.push(m.number(">d")),
    pickle.SHORT_BINSTRING: lambda m: m.push(m.take(m.number("<B")).decode("latin-1")),
    pickle.BINSTRING: lambda m: m.push(m.take(m.number("<i")).decode("latin-1")),
    pickle.SHORT_BINUNICODE: lambda m: m.text("<B"),
    pickle.BINUNICODE: lambda m: m.text("<I"),
    pickle.BINUNICODE8: lambda m: m.text("<Q"),
    pickle.SHORT_BINBYTES: lambda m: m.push(m.take(m.number("<B"))),
    pickle.BINBYTES: lambda m: m.push(m.take(m.number("<I"))),
    pickle.BINBYTES8: lambda m: m.push(m.take(m.number("<Q"))),
    pickle.EMPTY_TUPLE: lambda m: m.push(()),
    pickle.TUPLE1: lambda m: m.push(m.pop_many(1)),
    pickle.TUPLE2: lambda m: m.push(m.pop_many(2)),
    pickle.TUPLE3: lambda m: m.push(m.pop_many(3)),
    pickle.TUPLE: lambda m: m.push(tuple(m.pop_mark())),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.APPEND: lambda m: m.append(m.pop_many(1)),
    pickle.APPENDS: lambda m: m.append(m.pop_mark()),
    pickle.EMPTY_DICT: lambda m: m.push({}),
    pickle.SETITEM: lambda m: m.set_items(m.pop_many(2)),
    pickle.SETITEMS: lambda m: m.set_items(m.pop_mark()),
    pickle.EMPTY_SET: lambda m: m.push(set()),
    pickle.ADDITEMS: lambda m: m.add(m.pop_mark()),
    pickle.MARK: lambda m: m.mark(),
    pickle.POP: lambda m: m.pop() if m.stack else m.pop_mark(),
    pickle.POP_MARK: lambda m: m.pop_mark(),
    pickle.BINPUT: lambda m: m.put(m.number("<B")),
    pickle.LONG_BINPUT: lambda m: m.put(m.number("<I")),
    pickle.MEMOIZE: lambda m: m.put(len(m.memo)),
    pickle.BINGET: lambda m: m.get(m.number("<B")),
    pickle.LONG_BINGET: lambda m: m.get(m.number("<I")),
    pickle.GLOBAL: lambda m: m.find(m.line(), m.line()),
    pickle.STACK_GLOBAL: lambda m: m.find(*m.pop_many(2)),
    pickle.REDUCE: lambda m: m.call(new=False),
    pickle.NEWOBJ: lambda m: m.call(new=True),
    pickle.BUILD: lambda m: m.build(),
    pickle.BINPERSID: lambda m: m.persistent_id(),
}
