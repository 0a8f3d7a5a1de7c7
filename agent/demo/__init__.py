"""Floor 4. The demonstration: the founding case on real nftables and real packets, in network namespaces of its own.

Rules of this room:

1. It shows the program, it does not imitate it: the gateway is `agent.run`, webhooks come in over HTTP, people see what
   `ecluse` prints. Only the clock is the demonstration's, and every date says so.
2. The files in `policies/` are used as they are.
3. The exit code is 1 if one cell or figure is not as expected, 130 after Ctrl-C; whatever happens, nothing is left behind.
"""

import os

import click

from agent.demo import payments, prologue, suspension
from agent.demo.cast import START
from agent.demo.network import Stage, stage
from agent.demo.scene import moment, scene
from agent.demo.teller import DemoFailed, Teller
from agent.errors import EcluseError


def main(language: str = "en") -> int:
    """Tell the whole story on standard output.

    Args:
        language: `fr` or `en`.

    Returns:
        the exit code: 0 when everything is as expected, 1 when not, 130 when interrupted.
    """
    teller = Teller(language=language)
    if os.geteuid() != 0:
        fr = "la démonstration crée des espaces de noms réseau : lancez-la en root (sudo ecluse demo)"
        en = "the demonstration makes network namespaces: run it as root (sudo ecluse demo)"
        click.echo(teller.words((fr, en)), err=True)
        return 1
    try:
        tell(teller, stage())
    except KeyboardInterrupt:
        click.echo(teller.words(("\ninterrompu ; tout est retiré", "\ninterrupted; everything is taken down")), err=True)
        return 130
    except PermissionError as error:
        fr = f"{error} : il faut CAP_SYS_ADMIN et CAP_NET_ADMIN ; dans un conteneur, donnez-les-lui (--privileged)"
        en = f"{error}: CAP_SYS_ADMIN and CAP_NET_ADMIN are needed; in a container, grant them (--privileged)"
        teller.miss((fr, en))
    except DemoFailed as broken:
        teller.miss(broken.words)
    except (EcluseError, OSError) as error:
        teller.miss((str(error), str(error)))
    return teller.verdict()


def tell(teller: Teller, scenery: Stage) -> None:
    """The story, chapter by chapter.

    Raises:
        DemoFailed: it can not go on.
        OSError: no right to make namespaces, or a program is missing.
    """
    prologue.opening(teller, scenery)
    with scene(teller, scenery, moment(START)) as living:
        prologue.debts(living)
        prologue.letters(living)
        prologue.friday(living)
        suspension.monday(living)
        suspension.evidence(living)
        suspension.flushed(living)
        payments.za_pays(living)
        payments.zb_pays(living)
        payments.account(living)
