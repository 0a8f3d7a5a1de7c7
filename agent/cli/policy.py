"""Floor 4. `ecluse policy`: what a policy says in plain words, and what another would alter. It only reads files."""

import textwrap
from dataclasses import asdict
from pathlib import Path

import click

from agent.cli.ahead import diff_
from agent.cli.door import examples, speaks
from agent.cli.screen import Screen, dump
from agent.inventory import check_directory
from agent.policy import PROFILES
from agent.policy.text import Language, articles, document, title

_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)

#: An annex is read on paper.
_WIDTH = 88


@click.group(
    "policy",
    short_help="what a policy says, and what another would alter",
    epilog=examples("ecluse policy text fr-b2b"),
)
def policy_() -> None:
    """What a suspension policy says, in plain words, and what a change of policies would alter."""


@policy_.command(
    "text",
    short_help="a policy as the text of a contract annex",
    epilog=examples("ecluse policy text fr-b2b --lang fr", "ecluse policy text fr-b2b-approve --policies policies/"),
)
@click.argument("name", metavar="PROFILE|POLICY")
@click.option("--policies", "directory", type=_DIRECTORY, metavar="DIR", help="Where the policy is written; without it, a profile.")
@speaks
def text_(screen: Screen, name: str, directory: Path | None) -> None:
    """Print a PROFILE, or a POLICY of DIR, as plain text fit for a contract annex.

    It is a draft: have a lawyer read it before it goes into a contract.
    """
    known = dict(PROFILES) if directory is None else dict(check_directory(directory).policies)
    policy = known.get(name)
    if policy is None:
        raise click.BadParameter(f"{name!r} is not one of {', '.join(sorted(known))}", param_hint="PROFILE|POLICY")
    language: Language = "fr" if screen.language == "fr" else "en"
    if screen.as_json:
        parts = [asdict(article) for article in articles(policy, language)]
        data = {"policy": policy.id, "digest": policy.digest, "title": title(policy, language), "articles": parts}
        dump({"exit": 0, "message": None, "data": data})
        return
    for line in document(policy, language).removesuffix("\n").split("\n"):
        click.echo(textwrap.fill(line, _WIDTH, break_on_hyphens=False, break_long_words=False))


policy_.add_command(diff_)
