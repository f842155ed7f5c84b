"""Treebanks and files of names of any size, made on the spot."""

from pathlib import Path


def write_conllu(path: Path, part: str, count: int) -> None:
    rows = []
    for number in range(count):
        rows += [
            f"# sent_id = {part}-{number}",
            "1-2\tcan't\t_\t_\t_\t_\t_\t_\t_\t_",
            "1\tca\tcan\tAUX\tMD\t_\t3\taux\t_\t_",
            "2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_",
            f"3\t{part} {number}\trun\tVERB\tVB\t_\t0\troot\t_\t_",
            '4\t"\t"\tPUNCT\t.\t_\t3\tpunct\t_\t_',
            "4.1\trun\trun\tVERB\tVB\t_\t_\t_\t_\t_",
            "",
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_ner(path: Path, part: str, count: int) -> None:
    """IOB1 as in CoNLL-2003, the second name adjoining the first; a type that training lacks in the last sentence."""
    rows = ["-DOCSTART- -X- -X- O", ""]
    for number in range(count):
        kind = "I-PLACE" if part != "train" and number == count - 1 else "I-PER"
        rows += [f"{part}{number} NN I-NP I-PER", "Bo NN I-NP B-PER", "of IN I-PP O", f"Rome NN I-NP {kind}", ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
