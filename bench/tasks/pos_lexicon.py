"""The words of the synthetic tagging task: real English words, many of them of several word classes.

A verb is written `base`, `base:past` or `base:past:participle`; a `+` after the base doubles its last
letter before -ed and -ing. A noun is written `singular` or `singular:plural`. Other words are themselves.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

__all__ = ["LEXICON", "VOWELS", "Lexeme"]

Lexeme = Mapping[str, str]

VERBS = {
    # Verbs that take an object and are nouns as well.
    "nv": """
        plan+ book watch film report visit change guard study design paint record test question answer order
        offer contract support attack control+ drop+ shape stage market block burn call check claim comfort copy
        cover cure damage demand desire display doubt escort estimate exchange export factor favor fear feature
        fight:fought force frame fund grade grip+ guide handle harm harvest hunt influence insult interview
        issue judge kick label limit load lock map+ mark measure mention mix model name need note object pack
        park photograph pilot place plant point police praise present press process produce program+ project
        promise protest purchase push raid rank rate release rent repair request rescue research reserve review
        reward ruin sacrifice sample schedule search signal sketch stock stop+ supply surprise survey tackle
        target taste tax telephone tie track trade transfer+ transport treat trust use value vote wrap+
        bear:bore:borne cook doctor father host nurse coach crowd staff man+ bill fish ship+ train water
        shoulder face hand head eye back finger mother milk butter phone storm iron
    """,
    # Verbs that take no object and are nouns as well.
    "nvi": """
        walk dance jump laugh sleep:slept talk work rest play swim+:swam:swum run+:ran:run fall:fell:fallen
        rise:rose:risen cry smile cough dream drift fly:flew:flown hope hurry joke journey leap march matter
        pause protest race rain retreat return roar row sail scream shift slip+ smoke snow spin+:spun splash
        stand:stood stay strike:struck struggle stumble swing:swung travel trip+ turn wander whisper wonder
        worry yawn bark bloom bounce chat+ climb crawl crash decline end exit float flow gossip grin+ growl hike
        howl land lie:lay:lain limp bike camp ski surf sneeze snore sprint stroll stare start nap+ party shop+
    """,
    "vt": """
        admire build:built buy:bought carry choose:chose:chosen clarify collect deliver describe destroy
        discover discuss eat:ate:eaten enjoy examine explain find:found follow forget+:forgot:forgotten
        hear:heard hide:hid:hidden ignore improve include inspect invite keep:kept lose:lost:lost maintain
        mention obtain open prefer+ prepare protect provide publish punish reach receive remember remove replace
        respect reveal see:saw:seen sell:sold solve steal:stole:stolen teach:taught threaten translate
        understand:understood accept analyze arrange assemble avoid betray confirm consult criticize cultivate
        define defend detect educate employ evaluate expand finance forgive:forgave:forgiven illustrate imitate
        introduce investigate manufacture negotiate organize persuade polish preserve prove recommend renovate
        rewrite:rewrote:rewritten sew:sewed:sewn verify violate weave:wove:woven
    """,
    "vi": """
        appear arrive disappear exist fail happen listen occur+ remain sit+:sat:sat speak:spoke:spoken
        swear:swore:sworn vanish wait behave collapse compete complain emerge evolve flourish hesitate persist
        proceed react recover retire sleepwalk sparkle starve suffer survive tremble weep:wept wither apologize
    """,
    "vd": """
        give:gave:given send:sent show:showed:shown tell:told offer lend:lent hand teach:taught sell:sold
        bring:brought
    """,
    "vc": """
        think:thought believe know:knew:known say:said suspect claim report hope fear doubt guess feel:felt
        argue suppose insist admit+ assume conclude dream reveal remark estimate mention
    """,
    "vw": "ask wonder know:knew:known question learn discover explain decide forget+:forgot:forgotten doubt guess",
    "vto": """
        want try hope need plan+ decide promise refuse expect fail offer agree learn prefer+ struggle attempt
        demand threaten
    """,
    "vat": "object agree listen return travel walk point contribute respond adapt refer+",
    "vprt": """
        pick turn hand pack call give:gave:given take:took:taken bring:brought set+:set:set cut+:cut:cut
        throw:threw:thrown
    """,
    "like": "like love hate",
    "see": "see:saw:seen watch hear:heard",
    "make": "make:made let+:let:let",
    # Adjectives that are verbs with an object as well, in their base form.
    "av": """
        clean dry open warm cool empty slow clear complete correct lower narrow free perfect secure equal calm
        smooth blind tame dirty humble shut+:shut:shut tidy direct separate approximate subject alternate
    """,
    # Verbs whose participle reads as an adjective just as well.
    "ved": """
        close break:broke:broken lock tire surprise worry confuse excite damage satisfy frighten disappoint
        isolate crowd divide hide:hid:hidden bore embarrass relax complicate please exhaust freeze:froze:frozen
        interest shock injure puzzle prepare qualify organize trouble
    """,
    # Verbs whose -ing form is a plain noun as well.
    "ving": """
        build:built paint meet:met open feel:felt warn find:found draw:drew:drawn record write:wrote:written
        read:read hear:heard teach:taught cross gather end begin+:began:begun
    """,
    # The same, of nouns that are not counted.
    "vingm": """
        plan+ cook fish spell clothe sing:sang:sung train swim+:swam:swum dance hunt shop+ park advertise farm
        market build:built paint
    """,
}

NOUNS = {
    "person": """
        teacher farmer engineer doctor child:children woman:women student lawyer soldier writer manager visitor
        neighbor sailor actor mayor king queen girl boy uncle aunt artist banker tailor dentist officer tourist
        worker scientist gardener senator driver singer poet plumber carpenter mechanic librarian merchant
        professor journalist detective reporter musician philosopher astronaut biologist butcher clerk economist
        electrician historian inventor nephew orphan passenger peasant priest surgeon tenant waitress
    """,
    "thing": """
        car table letter window door picture house machine garden ticket wheel bottle computer engine lamp
        mirror chair pencil basket blanket bridge camera carpet coat curtain diary dictionary document envelope
        fence guitar hammer helmet jacket kettle knife:knives ladder lemon magazine necklace newspaper novel
        onion oven parcel piano pillow potato:potatoes pumpkin radio sandwich sculpture shirt sofa sweater
        telescope tomato:tomatoes trumpet umbrella vase violin wallet wardrobe theory decision policy idea
        opinion story method result budget strategy agreement proposal conclusion crisis:crises
    """,
    "place": """
        city village school office factory library museum hospital station church airport island valley kitchen
        theater restaurant castle forest harbor river mountain beach farm university prison laboratory cathedral
        stadium suburb warehouse desert cottage embassy gallery palace
    """,
    "mass": """
        money music information bread furniture sugar coffee advice traffic equipment weather knowledge luggage
        wood gold rice evidence laughter justice electricity wisdom pollution
    """,
    "time": "morning week year month evening summer winter century weekend afternoon decade hour",
}

OTHERS = {
    "adj": """
        big small new old young happy angry famous strange honest heavy expensive careful modern ancient
        beautiful terrible useful quiet brave lazy curious dangerous delicious elegant enormous fragile gentle
        generous gloomy guilty hungry innocent jealous loud lucky magnificent nervous noisy ordinary peaceful
        polite proud rural severe shiny silent sincere stubborn tiny ugly urban vivid wealthy wicked wooden
        foreign political historical chemical reliable temporary
    """,
    # Adjectives that are nouns as well, of a person and of a thing.
    "anp": """
        patient official native expert adult individual professional rival novice intellectual radical liberal
        conservative veteran human local commercial amateur captive
    """,
    "ant": """
        novel secret standard square original ideal antique chemical classic final annual daily relative
        electric material objective initial minor plastic mineral cold light present past dark green orange
        solid liquid medium sweet editorial manual moral potential
    """,
    # Adjectives that are adverbs of manner as well.
    "aadv": """
        fast hard late early long high deep straight right wrong loud slow tight low direct far near clean clear
    """,
    "manner": """
        quickly slowly carefully quietly badly happily loudly rarely often together abroad again twice eagerly
        politely reluctantly secretly suddenly gracefully awkwardly seldom alone everywhere
    """,
    "frequency": "often never always rarely usually sometimes still also really hardly seldom quietly",
    "degree": "very too quite rather extremely so really fairly",
    "sentence_adverb": "however today yesterday perhaps unfortunately sometimes later finally obviously meanwhile",
    "firstname": """
        Anna Peter Laura Thomas Helen David Julia Karen Steven Maria Robert Susan Daniel Emma Oliver Hannah
        Victor Sophie Edward Martha
    """,
    # Names that are common words as well.
    "ambiguous_name": """
        Will Mark Rose Grant Bill Hope Frank Art Grace Faith Drew Rob Sue Chase May Pat Jack Penny Cook Baker
    """,
    "city_name": "London Paris Boston Madrid Chicago Vienna Prague Lisbon Dublin Turkey Reading Nice China Cork",
    "number": "two three four five six seven ten eight nine eleven twelve twenty forty sixty",
    "cardinal_digit": "12 1990 45 300 7 18 2015 64",
    "preposition": """
        in near behind under beside above through across around with without for from about against toward
    """,
    "particle": "up off out down over back in",
    "interjection": "yes oh well no please okay hey ah",
}

VOWELS = "aeiou"


def _s_form(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ies"
    return word + "s"


def _verb(entry: str) -> Lexeme:
    """Forms of a verb, and of a noun spelt the same.

    i(nfinitive), b (present plural), 3 (third person), ds and dp (past singular and plural), n (participle),
    g (-ing), gs (-ings); sg and pl as a noun.
    """
    head, *irregular = entry.split(":")
    base = head.rstrip("+")
    stem = base + base[-1] if head.endswith("+") else base
    if base.endswith("e"):
        past, ing = base + "d", (base if base.endswith("ee") else base[:-1]) + "ing"
    elif base.endswith("y") and base[-2] not in VOWELS:
        past, ing = base[:-1] + "ied", base + "ing"
    else:
        past, ing = stem + "ed", stem + "ing"
    if base.endswith("ie"):
        ing = base[:-2] + "ying"
    past = irregular[0] if irregular else past
    present = {"i": base, "b": base, "3": _s_form(base), "sg": base, "pl": _s_form(base)}
    return {**present, "ds": past, "dp": past, "n": irregular[-1] if irregular else past, "g": ing, "gs": ing + "s"}


def _noun(entry: str) -> Lexeme:
    singular, _, plural = entry.partition(":")
    return {"sg": singular, "pl": plural or _s_form(singular)}


BE: Lexeme = {"i": "be", "b": "are", "3": "is", "ds": "was", "dp": "were", "n": "been", "g": "being"}
HAVE: Lexeme = {"i": "have", "b": "have", "3": "has", "ds": "had", "dp": "had", "n": "had", "g": "having"}


def _classes() -> dict[str, Sequence[Lexeme]]:
    classes: dict[str, Sequence[Lexeme]] = {"be": (BE,), "have": (HAVE,)}
    for name, words in VERBS.items():
        classes[name] = tuple(_verb(entry) for entry in dict.fromkeys(words.split()))
    for name, words in NOUNS.items():
        classes[name] = tuple(_noun(entry) for entry in dict.fromkeys(words.split()))
    for name, words in OTHERS.items():
        classes[name] = tuple({"": word, **_noun(word)} for word in dict.fromkeys(words.split()))
    return classes


LEXICON: Mapping[str, Sequence[Lexeme]] = MappingProxyType(_classes())
