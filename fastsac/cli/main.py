"""The command line, `fastsac train` and its siblings.  Finds the command, and turns errors into one line.

Exit status: 0 on success, 1 when a run failed, 2 for a wrong call, 130 after SIGINT, 143 after SIGTERM or SIGUSR1, 141
where nobody reads what a pipe takes, and 75 when max_wall_time ended a run, which the same command continues if it has
--resume auto.
"""

import difflib
import importlib
import os
import signal
import sys
from collections.abc import Sequence

# Each command is the function `run` of the module fastsac.cli.COMMAND, imported only if it is asked for.
COMMANDS = {
    "train": ("--env HalfCheetah-v5", "train a policy"),
    "eval": ("RUN_DIR", "evaluate the policy of a run"),
    "play": ("RUN_DIR", "show the policy of a run, or film it"),
    "demo": ("[NAME]", "show a policy that comes with fastsac"),
    "collect": ("RUN_DIR FILE", "write transitions of the policy of a run to a file"),
    "extract": ("RUN_DIR", "copy one member of a run to a run directory of its own"),
    "export": ("RUN_DIR", "write a policy to ONNX and torch.export files"),
    "plot": ("RUN_DIR...", "draw learning curves"),
    "report": ("RUN_DIR...", "write a page about runs"),
    "envs": ("[PATTERN]", "list the environments"),
    "doctor": ("", "check whether this machine can train"),
}
LINES = [f"  {f'fastsac {name} {arguments}':37}{about}\n" for name, (arguments, about) in COMMANDS.items()]
HELP = f"""usage: fastsac COMMAND [OPTIONS]

Soft Actor-Critic, fast and exact.

{"".join(LINES)}
`fastsac COMMAND --help` shows the options of a command."""


class Failed(Exception):
    """A command came to nothing, not by a wrong call; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    command, *args = (sys.argv[1:] if argv is None else argv) or [""]
    if command in ("", "-h", "--help", "help"):
        print(HELP)
        return 0 if command else 2
    if command == "--version":
        from fastsac import __version__

        print(f"fastsac {__version__}")
        return 0
    if command not in COMMANDS:
        say("fastsac", unknown(command))
        return 2
    prog = f"fastsac {command}"
    try:
        status: int = importlib.import_module(f"fastsac.cli.{command}").run(args)
        sys.stdout.flush()
        return status
    except Failed as error:
        say(prog, str(error))
        return 1
    except ValueError as error:
        if speaks():
            say(prog, str(error))
        return 2
    except KeyboardInterrupt as stop:
        from fastsac.runtime.signals import Stopped, exit_status

        name, has_written = (stop.name, stop.was_armed) if isinstance(stop, Stopped) else ("SIGINT", False)
        if speaks():
            say(prog, f"{name}: stopped at once{'; files written before are kept' * has_written}.")
        return exit_status(name)
    except BrokenPipeError:  # `fastsac envs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor is there a traceback at the end
        return 128 + signal.SIGPIPE


def unknown(command: str) -> str:
    """What to say of a command that there is not."""
    choices = f"choose from {', '.join(COMMANDS)}"
    if command.startswith("-"):
        return f"a command comes before {command}; {choices}."
    close = difflib.get_close_matches(command.lower(), COMMANDS, 1)
    return f"unknown command {command!r}; {f'did you mean {close[0]}?' if close else f'{choices}.'}"


def speaks() -> bool:
    """Whether this process says what all find out that torchrun has started on this machine."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def say(prog: str, message: str) -> None:
    """Print a message on stderr, in one line."""
    print(f"{prog}: {' '.join(message.split())}", file=sys.stderr)
