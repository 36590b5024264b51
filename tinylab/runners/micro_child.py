"""The process in which TensorFlow Lite Micro runs: `tinylab.runners.micro` starts it and talks to it.

It is run as a script and imports nothing of tinylab, so that it is there in a moment. Its messages
go over a pipe of their own, because the interpreter writes to stdout and stderr.

First comes (the model's bytes, the arena's bytes, the number of outputs), answered with []. From then
on a list of runs, each a list of input arrays, is answered run by run with a list of output arrays;
None makes the interpreter write what is in its arena, and is answered with [].
Instead of an answer there may be a text, the interpreter's complaint; it is the last one.
"""

import sys
from multiprocessing.connection import Connection


def serve(parent: Connection) -> None:
    """Answer until the parent hangs up, or until something goes wrong."""
    try:
        from tflite_micro.python.tflite_micro import runtime

        content, arena, outputs = parent.recv()
        interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena)
        parent.send([])
        while True:
            runs = parent.recv()
            if runs is None:
                interpreter.print_allocations()
                parent.send([])
                continue
            for inputs in runs:
                for number, array in enumerate(inputs):
                    interpreter.set_input(array, number)
                interpreter.invoke()
                parent.send([interpreter.get_output(number) for number in range(outputs)])
    except (EOFError, ConnectionError):
        return
    except Exception as error:
        parent.send(str(error) or type(error).__name__)


if __name__ == "__main__":
    with Connection(int(sys.argv[1])) as connection:
        serve(connection)
