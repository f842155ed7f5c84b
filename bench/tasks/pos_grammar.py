"""The rules of the synthetic tagging task.

One rule a line: name, weight, symbols. A `!` after the weight keeps the rule for evaluation; a `?` marks a
construction whose reading nothing in the sentence decides. A symbol is another rule's name, `<class.form>/TAG`
(a word of the lexicon in that form) or `word/TAG`. In a name `X.*` stands for any form, and `*` on the
right for the same one. Verb forms: i b 3 ds dp n g; noun forms: sg pl (see the lexicon).
"""

RULES = """
ROOT 20 S ./PUNCT
ROOT 3 S ,/PUNCT and/CCONJ S ./PUNCT
ROOT 2 S ,/PUNCT but/CCONJ S ./PUNCT
ROOT 3 CLAUSE ,/PUNCT S ./PUNCT
ROOT 2 S CLAUSE ./PUNCT
ROOT 2 <sentence_adverb>/ADV ,/PUNCT S ./PUNCT
ROOT 1 <interjection>/INTJ ,/PUNCT S ./PUNCT
ROOT 1 PP ,/PUNCT S ./PUNCT
ROOT 3 QUESTION ?/PUNCT
ROOT 2 COMMAND ./PUNCT
ROOT 1 there/PRON EXISTS ./PUNCT
ROOT 1 "/PUNCT S ,/PUNCT "/PUNCT <vc.ds>/VERB NAME ./PUNCT
ROOT 2! <vt.g>/VERB NP ,/PUNCT S ./PUNCT
ROOT 2! <nv.g>/VERB NP ,/PUNCT S ./PUNCT
ROOT 2! <ved.n>/VERB by/ADP NP ,/PUNCT S ./PUNCT
ROOT 2! <nv.n>/VERB by/ADP NP ,/PUNCT S ./PUNCT
ROOT 2! it/PRON was/AUX NP.sg that/PRON VP.ds ./PUNCT
ROOT 1! it/PRON was/AUX PP that/SCONJ S ./PUNCT
ROOT 1 what/PRON NP.pl VOBJ.b is/AUX NP.sg ./PUNCT
ROOT 2! to/PART VP.i is/AUX to/PART VP.i ./PUNCT
ROOT 2! NP.sg VP.3 ,/PUNCT NP.sg VP.3 ,/PUNCT and/CCONJ NP.pl VP.b ./PUNCT
ROOT 1 so/ADV ADJ was/AUX NP.sg that/SCONJ S ./PUNCT
ROOT 2! HEADLINE
ROOT 1! had/AUX NP CORE.n ,/PUNCT NP MODAL have/AUX CORE.n ./PUNCT
ROOT 1 more/ADJ than/ADP NUM N.pl VP.b ./PUNCT

S 6 NP.sg VP.3
S 6 NP.pl VP.b
S 4 NP.sg VP.ds
S 4 NP.pl VP.dp
S 3 NP MODAL VP.i
S 1 PRO.sg VP.3
S 1 PRO.pl VP.b
S 1 PRO.sg VP.ds
S 1 PRO.pl VP.dp
S 1 PRO.sg MODAL VP.i
S 1 that/PRON VP.3
S 0.5 this/PRON VP.ds
S 0.75 that/PRON MODAL VP.i
S 0.75 these/PRON VP.b
S 0.75 the/DET <adj>/ADJ VP.b
S 1! <ving.g>/VERB NP is/AUX PREDICATE
S 1! both/DET NBAR.pl VP.b
S 0.5 more/ADJ NBAR.pl VP.b than/SCONJ S

PRO.sg 1 he/PRON
PRO.sg 1 she/PRON
PRO.sg 1 it/PRON
PRO.pl 1 they/PRON
PRO.pl 1 we/PRON
PRO.pl 1 you/PRON
OBJPRO 1 him/PRON
OBJPRO 1 her/PRON
OBJPRO 1 it/PRON
OBJPRO 1 them/PRON
OBJPRO 1 us/PRON

NP 1 NP.sg
NP 1 NP.pl
OBJ 6 NP
OBJ 1 OBJPRO
OBJ 0.5 that/PRON

NP.* 8 DET.* NBAR.*
NP.pl 4 NBAR.pl
NP.sg 2 NAME
NP.sg 1 <mass.sg>/NOUN
NP.sg 0.5 <vingm.g>/NOUN
NP.sg 0.7 ADJ <mass.sg>/NOUN
NP.* 1.5 DET.* NBAR.* PP
NP.sg 0.8 DET.sg NBAR.sg REL.3
NP.pl 0.8 DET.pl NBAR.pl REL.b
NP.* 0.8 DET.* NBAR.* that/PRON NP.pl VOBJ.b
NP.* 0.7 DET.sg N.sg 's/PART NBAR.*
NP.* 0.5 NAME 's/PART NBAR.*
NP.pl 0.7 DET.pl NBAR.pl and/CCONJ NBAR.pl
NP.pl 1 NUM NBAR.pl
NP.* 1 DET.* NBAR.* NP.pl VOBJ.b
NP.* 2! DET.* NBAR.* <nv.g>/VERB NP
NP.* 1.5! DET.* NBAR.* <nv.n>/VERB by/ADP NP
NP.pl 1 NBAR.pl and/CCONJ NBAR.pl
NP.sg 0.7! the/DET fact/NOUN that/SCONJ S
NP.* 1! DET.* ADJ ,/PUNCT ADJ NBAR.*

DET.sg 5 the/DET
DET.pl 5 the/DET
DET.sg 2 a/DET
DET.sg 1 this/DET
DET.sg 1.5 that/DET
DET.pl 1 these/DET
DET.pl 1 some/DET
DET.pl 0.5 no/DET
DET.sg 0.5 no/DET
DET.sg 0.5 every/DET
DET.pl 0.5 all/DET
DET.pl 0.6 more/ADJ
DET.pl 0.6 many/ADJ
DET.* 0.7 his/PRON
DET.* 0.7 her/PRON
DET.* 0.7 their/PRON
DET.* 0.5 my/PRON
DET.* 0.5 the/DET only/ADJ

NUM 3 <number>/NUM
NUM 1 <cardinal_digit>/NUM

NBAR.* 7 N.*
NBAR.* 4 ADJ N.*
NBAR.* 3 MODNOUN N.*
NBAR.* 1 ADJ MODNOUN N.*
NBAR.* 0.7 ADJ ADJ N.*
NBAR.* 2! MODNOUN MODNOUN N.*

N.* 3 <person.*>/NOUN
N.* 2 <thing.*>/NOUN
N.* 1.5 <place.*>/NOUN
N.* 5 <nv.*>/NOUN
N.* 2 <nvi.*>/NOUN
N.* 1 <anp.*>/NOUN
N.* 1 <ant.*>/NOUN
N.sg 0.7 <ving.g>/NOUN
N.pl 0.7 <ving.gs>/NOUN

MODNOUN 1 <thing.sg>/NOUN
MODNOUN 1 <place.sg>/NOUN
MODNOUN 0.5 <mass.sg>/NOUN
MODNOUN 3 <nv.sg>/NOUN
MODNOUN 0.5 <ving.g>/NOUN
MODNOUN 0.5 <vingm.g>/NOUN
MODNOUN 0.5 <ant.sg>/NOUN

NAME 2 <firstname>/PROPN
NAME 1.5 <ambiguous_name>/PROPN
NAME 0.7 <city_name>/PROPN
NAME 0.4 <firstname>/PROPN <ambiguous_name>/PROPN

ADJ 5 <adj>/ADJ
ADJ 1.5 <anp>/ADJ
ADJ 1.5 <ant>/ADJ
ADJ 1.5 <aadv>/ADJ
ADJ 1.5 <av.i>/ADJ
ADJ 1 <ved.n>/ADJ
ADJ 0.5 <degree>/ADV <adj>/ADJ
ADJ 0.3 more/ADV <adj>/ADJ
PREDICATE 4 <adj>/ADJ
PREDICATE 2 <degree>/ADV <adj>/ADJ
PREDICATE 1 <degree>/ADV <aadv>/ADJ
PREDICATE 1 <av.i>/ADJ
PREDICATE 1 <aadv>/ADJ
PREDICATE 1 <anp>/ADJ
PREDICATE 0.5 more/ADV <adj>/ADJ than/ADP NP
PREDICATE 0.75 as/ADV <adj>/ADJ as/ADP NP
PREDICATE 0.75 too/ADV <adj>/ADJ to/PART VP.i
PREDICATE 0.75 <adj>/ADJ enough/ADV to/PART VP.i

PP 5 <preposition>/ADP NP
PP 1 to/ADP NP
PP 1 of/ADP NP
PP 1 like/ADP NP
PP 0.7 before/ADP NP
PP 0.7 after/ADP NP
PP 0.7 during/ADP the/DET <time.sg>/NOUN
PP 0.5 since/ADP NUM

REL.* 2 who/PRON VP.*
REL.* 2 that/PRON VP.*
REL.* 1 which/PRON VP.*

MODAL 1 will/AUX
MODAL 1 can/AUX
MODAL 1 may/AUX
MODAL 1 must/AUX
MODAL 1 should/AUX
MODAL 0.7 might/AUX
MODAL 0.7 will/AUX not/PART
MODAL 0.7 could/AUX <frequency>/ADV

VP.* 32 CORE.*
VP.* 3 <have.*>/AUX CORE.n
VP.* 4 <be.*>/AUX CORE.g
VP.* 3 <be.*>/AUX VOBJ.n by/ADP NP
VP.* 3 <be.*>/AUX PREDICATE
VP.* 2 <be.*>/AUX NP
VP.* 1.5 <be.*>/AUX PP
VP.* 1 <have.*>/AUX been/AUX PREDICATE
VP.* 0.7? <be.*>/AUX <ved.n>/ADJ
VP.* 0.7? <be.*>/AUX <ved.n>/VERB
VP.3 2 does/AUX not/PART CORE.i
VP.b 2 do/AUX not/PART CORE.i
VP.ds 2 did/AUX not/PART CORE.i
VP.dp 2 did/AUX not/PART CORE.i

VOBJ.* 2 <vt.*>/VERB
VOBJ.* 4 <nv.*>/VERB
VOBJ.* 1 <av.*>/VERB
VOBJ.* 1 <ved.*>/VERB
VINT.* 2 <vi.*>/VERB
VINT.* 4 <nvi.*>/VERB
MANNER 2 <manner>/ADV
MANNER 2 <aadv>/ADV
MANNER 0.5 very/ADV <aadv>/ADV

CORE.* 8 VOBJ.* OBJ
CORE.* 3 VOBJ.* OBJ PP
CORE.* 1.5 VOBJ.* OBJ MANNER
CORE.* 1.5 <frequency>/ADV VOBJ.* OBJ
CORE.* 1 VOBJ.* OBJ and/CCONJ VOBJ.* OBJ
CORE.* 3 VINT.*
CORE.* 3 VINT.* MANNER
CORE.* 2 VINT.* PP
CORE.* 1 VINT.* to/PART VP.i
CORE.* 2 <vd.*>/VERB OBJ NP
CORE.* 1.5 <vc.*>/VERB that/SCONJ S
CORE.* 1.5 <vc.*>/VERB S
CORE.* 1 <vw.*>/VERB whether/SCONJ S
CORE.* 1 <vw.*>/VERB why/ADV S
CORE.* 3 <vto.*>/VERB to/PART VP.i
CORE.* 1.5 <vat.*>/VERB to/ADP NP
CORE.* 1 <vprt.*>/VERB <particle>/ADP OBJ
CORE.* 1 <vprt.*>/VERB OBJ <particle>/ADP
CORE.* 2 <have.*>/VERB OBJ
CORE.* 0.5 <like.*>/VERB NP
CORE.* 0.2? <see.*>/VERB her/PRON <nvi.i>/VERB
CORE.* 0.2? <see.*>/VERB her/PRON <nvi.sg>/NOUN
CORE.* 2! VINT.* and/CCONJ VINT.*
CORE.* 2! <make.*>/VERB NP CORE.i
CORE.* 2! <see.*>/VERB NP CORE.g
CORE.* 1 <like.*>/VERB <nv.g>/VERB NP
CORE.* 0.5 <vto.*>/VERB neither/CCONJ to/PART CORE.i nor/CCONJ to/PART CORE.i
CORE.* 0.5 <vw.*>/VERB what/PRON NP.pl VOBJ.b
CORE.* 0.5 <vw.*>/VERB which/DET N.pl VP.b

CLAUSE 1 when/ADV S
CLAUSE 1 because/SCONJ S
CLAUSE 1 if/SCONJ S
CLAUSE 1 although/SCONJ S
CLAUSE 1 before/SCONJ S
CLAUSE 0.7 after/SCONJ S
CLAUSE 0.7 since/SCONJ S
CLAUSE 2! until/SCONJ S
CLAUSE 2! as/SCONJ S
CLAUSE 2! while/SCONJ <nv.g>/VERB NP
CLAUSE 2! for/SCONJ NP to/PART CORE.i

QUESTION 1 does/AUX NP.sg CORE.i
QUESTION 1 do/AUX NP.pl CORE.i
QUESTION 1 did/AUX NP CORE.i
QUESTION 0.5 will/AUX NP CORE.i
QUESTION 0.5 can/AUX NP CORE.i
QUESTION 1 is/AUX NP.sg CORE.g
QUESTION 1 are/AUX NP.pl PREDICATE
QUESTION 1 who/PRON VP.3
QUESTION 1 what/PRON does/AUX NP.sg VOBJ.i
QUESTION 1 why/ADV did/AUX NP CORE.i
QUESTION 1 what/DET NBAR.pl do/AUX NP.pl VOBJ.i
QUESTION 1 which/DET NBAR.sg VP.3
QUESTION 2! has/AUX NP.sg CORE.n
QUESTION 2! how/ADV <adj>/ADJ is/AUX NP.sg

COMMAND 3 CORE.i
COMMAND 1 please/INTJ CORE.i
COMMAND 0.5 be/AUX PREDICATE
COMMAND 1 do/AUX not/PART CORE.i
COMMAND 2! let/VERB us/PRON CORE.i

EXISTS 1 is/VERB NP.sg PP
EXISTS 1 are/VERB NP.pl PP
EXISTS 1! was/VERB no/DET N.sg to/PART VOBJ.i

HEADLINE 1 MODNOUN N.sg VOBJ.3 NBAR.pl
HEADLINE 1 MODNOUN N.pl VOBJ.b <mass.sg>/NOUN
HEADLINE 1 NAME to/PART VOBJ.i MODNOUN N.pl
"""
