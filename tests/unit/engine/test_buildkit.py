# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What builders say, read: recorded from Docker 28 and Podman 4."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._engine import build, buildkit, programs
from ansible_collections.stowage.oci.plugins.module_utils._engine.buildlog import LINES, Log

# Of a failing build: its first steps, a warning, the step that fails, what it printed and its error.
TRACE = [
    "Cm8KR3NoYTI1NjoyYWUzYWI3YTQ0MmU4OWJjMGIzNjFmNGI1ZmI2NGU2ZTg5ZWU3OWQzOWEwOWZlOWM5YzBlOTA1OTkxZWI4ZWQ5GiRbaW50ZXJuYWxdIGxv"
    "YWQgcmVtb3RlIGJ1aWxkIGNvbnRleHQ=",
    "Cn0KR3NoYTI1NjoyYWUzYWI3YTQ0MmU4OWJjMGIzNjFmNGI1ZmI2NGU2ZTg5ZWU3OWQzOWEwOWZlOWM5YzBlOTA1OTkxZWI4ZWQ5GiRbaW50ZXJuYWxdIGxv"
    "YWQgcmVtb3RlIGJ1aWxkIGNvbnRleHQqDAjSypbYBhCCqbXVAw==",
    "CosBCkdzaGEyNTY6MmFlM2FiN2E0NDJlODliYzBiMzYxZjRiNWZiNjRlNmU4OWVlNzlkMzlhMDlmZTljOWMwZTkwNTk5MWViOGVkORokW2ludGVybmFsXSBs"
    "b2FkIHJlbW90ZSBidWlsZCBjb250ZXh0KgwI0sqW2AYQgqm11QMyDAjSypbYBhC/lbHcAw==",
    "Is0JCkdzaGEyNTY6Y2QwODk0NTkwMGUyYTVhMzQzNjFjMTQyNTc3NGIwZTBhZjE5MmY5MmQ2Mzg0MTFmZTZkMDExMDU5YTc1M2JjMxABGkRGcm9tQXNDYXNp"
    "bmc6ICdhcycgYW5kICdGUk9NJyBrZXl3b3JkcycgY2FzaW5nIGRvIG5vdCBtYXRjaCAobGluZSAxKSI8VGhlICdhcycga2V5d29yZCBzaG91bGQgbWF0Y2gg"
    "dGhlIGNhc2Ugb2YgdGhlICdmcm9tJyBrZXl3b3JkKjpodHRwczovL2RvY3MuZG9ja2VyLmNvbS9nby9kb2NrZXJmaWxlL3J1bGUvZnJvbS1hcy1jYXNpbmcv"
    "MrUHCgpEb2NrZXJmaWxlEmJGUk9NIHJlZ2lzdHJ5LmludmFsaWQvdGVzdC9iYXNlOjEgYXMgYQpSVU4gZWNobyBvbmU7IGVjaG8gdHdvOyBwcmludGYgIlww"
    "MzNbMzFtcmVkXDAzM1swbSI7IGZhbHNlChq2BgpOWgAaSgouaHR0cDovL2J1aWxkLWNvbnRleHQtNG9saWZvYXd0bzhhNnZkajM1MWIwNzgyZBIYCg1odHRw"
    "LmZpbGVuYW1lEgdjb250ZXh0CoMBCkkKR3NoYTI1NjoyYWUzYWI3YTQ0MmU4OWJjMGIzNjFmNGI1ZmI2NGU2ZTg5ZWU3OWQzOWEwOWZlOWM5YzBlOTA1OTkx"
    "ZWI4ZWQ5WgAiNBIyCP///////////wEiJQoIL2NvbnRleHQSAS8g////////////ATgBWP///////////wEKSwpJCkdzaGEyNTY6Y2QwODk0NTkwMGUyYTVh"
    "MzQzNjFjMTQyNTc3NGIwZTBhZjE5MmY5MmQ2Mzg0MTFmZTZkMDExMDU5YTc1M2JjMxKUAQpHc2hhMjU2OjJhZTNhYjdhNDQyZTg5YmMwYjM2MWY0YjVmYjY0"
    "ZTZlODllZTc5ZDM5YTA5ZmU5YzljMGU5MDU5OTFlYjhlZDkSSRI2Cg5sbGIuY3VzdG9tbmFtZRIkW2ludGVybmFsXSBsb2FkIHJlbW90ZSBidWlsZCBjb250"
    "ZXh0Kg8KC3NvdXJjZS5odHRwEAESWgpHc2hhMjU2OmNkMDg5NDU5MDBlMmE1YTM0MzYxYzE0MjU3NzRiMGUwYWYxOTJmOTJkNjM4NDExZmU2ZDAxMTA1OWE3"
    "NTNiYzMSDyoNCglmaWxlLmJhc2UQARKAAQpHc2hhMjU2OjI1YWFhMzNiYWRhOGJhZDM5OTk5NjczOGFlMzg2NTNiMzgzMzRjYjFiY2NhN2YzNzA2OTAzYzdi"
    "M2QwNmE5MzcSNSoUChBtZXRhLmRlc2NyaXB0aW9uEAEqDwoLY29uc3RyYWludHMQASoMCghwbGF0Zm9ybRABGpoBCksKR3NoYTI1NjoyYWUzYWI3YTQ0MmU4"
    "OWJjMGIzNjFmNGI1ZmI2NGU2ZTg5ZWU3OWQzOWEwOWZlOWM5YzBlOTA1OTkxZWI4ZWQ5EgAKSwpHc2hhMjU2OmNkMDg5NDU5MDBlMmE1YTM0MzYxYzE0MjU3"
    "NzRiMGUwYWYxOTJmOTJkNjM4NDExZmU2ZDAxMTA1OWE3NTNiYzMSACIKRG9ja2VyZmlsZToICgIIARICCAE=",
    "CtQBCkdzaGEyNTY6ODIxN2RhYmU3OTM5MmU5NGE3N2I1NWU5YWI3ZGQ1MDhiMWRiMmRkNjhjOTgyYTY0MTlmODJhMGIzZDEwN2FlMRJHc2hhMjU2OjI2ZmZi"
    "MGIxMDE3NmEwNDRjMWMyMDI5MTcyZDI5YmYzMjFkYTQ2MzY4YWZlZjcwNDY3NzczZDM4MzNiMmRlNWIaQFsyLzJdIFJVTiBlY2hvIG9uZTsgZWNobyB0d287"
    "IHByaW50ZiAiXDAzM1szMW1yZWRcMDMzWzBtIjsgZmFsc2UKugEKR3NoYTI1NjoyNmZmYjBiMTAxNzZhMDQ0YzFjMjAyOTE3MmQyOWJmMzIxZGE0NjM2OGFm"
    "ZWY3MDQ2Nzc3M2QzODMzYjJkZTViGm9bMS8yXSBGUk9NIHJlZ2lzdHJ5LmludmFsaWQvdGVzdC9iYXNlOjFAc2hhMjU2OjZmNWRlY2RhNmUyNmM5Y2QzNjg0"
    "ZTBlYTcxMGEwMmNjZGU1YzFlM2RiMzZlZWRhMDkxNjgzMWY1ZWE0MDI1NTY=",
    "CuEBCkdzaGEyNTY6ODIxN2RhYmU3OTM5MmU5NGE3N2I1NWU5YWI3ZGQ1MDhiMWRiMmRkNjhjOTgyYTY0MTlmODJhMGIzZDEwN2FlMRJHc2hhMjU2OjI2ZmZi"
    "MGIxMDE3NmEwNDRjMWMyMDI5MTcyZDI5YmYzMjFkYTQ2MzY4YWZlZjcwNDY3NzczZDM4MzNiMmRlNWIaQFsyLzJdIFJVTiBlY2hvIG9uZTsgZWNobyB0d287"
    "IHByaW50ZiAiXDAzM1szMW1yZWRcMDMzWzBtIjsgZmFsc2UqCwjTypbYBhCZ9fga",
    "Gl4KR3NoYTI1Njo4MjE3ZGFiZTc5MzkyZTk0YTc3YjU1ZTlhYjdkZDUwOGIxZGIyZGQ2OGM5ODJhNjQxOWY4MmEwYjNkMTA3YWUxEgsI08qW2AYQiMmsPBgB"
    "IgRvbmUK",
    "Gl4KR3NoYTI1Njo4MjE3ZGFiZTc5MzkyZTk0YTc3YjU1ZTlhYjdkZDUwOGIxZGIyZGQ2OGM5ODJhNjQxOWY4MmEwYjNkMTA3YWUxEgsI08qW2AYQmbPSPBgB"
    "IgR0d28K",
    "GmYKR3NoYTI1Njo4MjE3ZGFiZTc5MzkyZTk0YTc3YjU1ZTlhYjdkZDUwOGIxZGIyZGQ2OGM5ODJhNjQxOWY4MmEwYjNkMTA3YWUxEgsI08qW2AYQzOjfPBgB"
    "IgwbWzMxbXJlZBtbMG0=",
    "CusCCkdzaGEyNTY6ODIxN2RhYmU3OTM5MmU5NGE3N2I1NWU5YWI3ZGQ1MDhiMWRiMmRkNjhjOTgyYTY0MTlmODJhMGIzZDEwN2FlMRJHc2hhMjU2OjI2ZmZi"
    "MGIxMDE3NmEwNDRjMWMyMDI5MTcyZDI5YmYzMjFkYTQ2MzY4YWZlZjcwNDY3NzczZDM4MzNiMmRlNWIaQFsyLzJdIFJVTiBlY2hvIG9uZTsgZWNobyB0d287"
    "IHByaW50ZiAiXDAzM1szMW1yZWRcMDMzWzBtIjsgZmFsc2UqCwjTypbYBhCZ9fgaMgsI08qW2AYQ6KekUzp7cHJvY2VzcyAiL2Jpbi9zaCAtYyBlY2hvIG9u"
    "ZTsgZWNobyB0d287IHByaW50ZiBcIlxcMDMzWzMxbXJlZFxcMDMzWzBtXCI7IGZhbHNlIiBkaWQgbm90IGNvbXBsZXRlIHN1Y2Nlc3NmdWxseTogZXhpdCBj"
    "b2RlOiAx",
]

RUN = "[2/2] RUN echo one; echo two; printf \"\\033[31mred\\033[0m\"; false"
WARNING = "WARNING: FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)"


def read(messages: list, reader=build.traced) -> Log:
    log = Log()
    for message in messages:
        reader(log, message)
    return log


def traced(traces: list) -> Log:
    return read([{"id": "moby.buildkit.trace", "aux": trace} for trace in traces])


def test_a_trace_is_steps_output_and_errors():
    found = [buildkit.decode(trace) for trace in TRACE]
    first = found[0].vertexes
    assert (first[0].name, first[0].started, first[0].cached, first[0].error) == ("[internal] load remote build context", False, False, "")
    failed = found[-1].vertexes[0]
    assert failed.name == RUN and failed.error.endswith("did not complete successfully: exit code: 1") and failed.started
    assert b"".join(output.data for status in found for output in status.logs) == b"one\ntwo\n\x1b[31mred\x1b[0m"
    assert {output.vertex for status in found for output in status.logs} == {failed.digest}


def test_a_build_that_fails_is_told_by_step_with_its_last_lines():
    log = traced(TRACE)
    assert log.failing() == (RUN, ["one", "two", "red"])
    assert log.lines == ["[internal] load remote build context", WARNING, RUN, "one", "two", "red"]


@pytest.mark.parametrize("trace", ["", "?", "====", TRACE[0][:-8], "Cv8=", "Cw==", "/w=="])
def test_what_is_no_trace_is_nothing(trace):
    assert buildkit.decode(trace) == buildkit.Status()


def number(value: int) -> bytes:
    rest = value >> 7
    return bytes([value & 0x7F | (0x80 if rest else 0)]) + (number(rest) if rest else b"")


def part(field: int, data: bytes) -> bytes:
    return number(field << 3 | 2) + number(len(data)) + data


def trace(*parts: bytes) -> str:
    return base64.b64encode(b"".join(parts)).decode()


def test_fields_of_every_kind_and_of_later_versions_are_passed_over():
    vertex = number(99 << 3 | 1) + bytes(8) + number(98 << 3 | 5) + bytes(4) + part(1, b"a") + part(3, b"COPY") + number(4 << 3) + b"\x01"
    status = buildkit.decode(trace(part(1, vertex), part(77, b"?")))
    assert status.vertexes == (buildkit.Vertex("a", "COPY", cached=True, started=False, error=""),)


def test_steps_side_by_side_take_turns_under_their_names():
    def began(key, name, error=b""):
        return trace(part(1, part(1, key) + part(3, name) + part(5, b"") + (part(7, error) if error else b"")))

    def printed(key, text):
        return trace(part(3, part(1, key) + part(4, text)))

    log = traced([
        began(b"a", b"RUN make"), began(b"b", b"RUN test"), printed(b"a", b"ma"), printed(b"b", b"ok\n"), printed(b"a", b"de\n10%\r20%\r\n"),
        began(b"a", b"RUN make", b"context canceled: context canceled"), began(b"b", b"RUN test", b"exit code: 2"),
    ])
    assert log.lines == ["RUN make", "RUN test", "ok", "RUN make", "made", "20%"]
    assert log.failing() == ("RUN test", ["ok"])


def stream(*texts: str) -> list:
    return [{"stream": text} for text in texts]


def test_the_classic_builder():
    said = stream(
        "Step 1/2 : FROM base", "\n", " ---> 838c952bfeff\n", "Step 2/2 : RUN echo; printf a; false", "\n", " ---> Using cache\n",
        " ---> Running in d9a64ba28c64\n", "\n", "a", "\x1b[91mred\n\x1b[0m", " ---> Removed intermediate container d9a64ba28c64\n",
    )
    log = read(said + [{"error": "returned a non-zero code: 1"}], build.classic_steps())
    assert log.lines == ["Step 1/2 : FROM base", "Step 2/2 : RUN echo; printf a; false", " ---> Using cache", "", "ared"]
    assert log.failing() == ("Step 2/2 : RUN echo; printf a; false", [" ---> Using cache", "", "ared"])


def test_podman():
    said = stream(
        "[1/2] STEP 1/2: FROM base\n", "[1/2] STEP 2/2: RUN printf a\n", "a", "COMMIT\n", "--> ef557f8ee5a\n", "[2/2] STEP 1/1: FROM scratch\n",
        "warning\n",
    )
    log = read(said + [{"error": "no"}], build.podman_steps())
    assert log.lines == ["[1/2] STEP 1/2: FROM base", "[1/2] STEP 2/2: RUN printf a", "a", "[2/2] STEP 1/1: FROM scratch", "warning"]
    assert log.failing() == ("[2/2] STEP 1/1: FROM scratch", ["warning"])


PLAIN = """#0 building with "default" instance using docker driver

#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 31B done
#1 DONE 0.0s

#5 [2/3] COPY f /f
#5 sha256:d20d8f04bcaa384128e1af67de0eda6a3ea6eb75caea83fca8f3ed2158353901
#5 CACHED

#6 [3/3] RUN echo 1.5 s; false
#6 0.123 1.5 s
#6 0.124
#6 ERROR: process "/bin/sh -c echo 1.5 s; false" did not complete successfully: exit code: 1
------
 > [3/3] RUN echo 1.5 s; false:
0.123 1.5 s
------
ERROR: failed to build: failed to solve: process "/bin/sh -c echo 1.5 s; false" did not complete successfully: exit code: 1
"""


def test_plain_progress_of_dockers_program():
    log = Log()
    for line in PLAIN.splitlines():
        programs.plain(log, line)
    assert log.failing() == ("[3/3] RUN echo 1.5 s; false", ["1.5 s", ""])
    assert log.lines[:7] == [
        'building with "default" instance using docker driver',
        "[internal] load build definition from Dockerfile",
        "transferring dockerfile: 31B done",
        "[2/3] COPY f /f",
        "CACHED",
        "[3/3] RUN echo 1.5 s; false",
        "1.5 s",
    ]


def test_a_log_has_an_end():
    log = Log()
    log.write("", b"line\n" * (LINES + 5) + b"last")
    assert len(log.lines) == LINES and log.lines[-1] == "last"
    assert log.failing() is None
