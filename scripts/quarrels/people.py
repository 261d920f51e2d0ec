"""The people of the quarrels: names (those of held-out rows are not in training rows), titles, and relations."""

MEN = """Jack Tom John Mike Bob Bill Jim Steven David Mark Peter Paul Jason Sam James Michael Steve George Joe Frank Tim
Dave Martin Fred Jimmy Richard Henry Daniel Robert Tony Kevin Brian Eric Adam Alex Andy Ben Charles Chris Dan Dennis
Edward Gary Greg Harry Jeff Jerry Johnny Ken Larry Leo Matt Nick Oliver Patrick Philip Ray Roger Ron Ryan Scott Simon
Ted Thomas Tommy Victor Walter William Max Luke Noah Oscar Billy Bobby Danny Eddie Albert Arthur Bruce Carl Charlie
Francis Howard Justin Keith Rick Rob Sean Stan Stephen Vince Wayne Joseph Jake Josh Clive Owen Diego Hugo Felix Milo
Archie Norman Clyde Julian Boris Conrad Edgar Glenn Ivan Malcolm Nathan Neil Ralph Roman Stuart Otis Perry Finn
Rupert Desmond Barnaby Dexter Reggie Hamish Rory Fergus Kieran Rhys Enzo Emilio Thiago Anders Nils Klaus Marek Dragan
Omar Karim Amir Rashid Rohan Vikram Nikhil Kofi Tunde Sipho Hiroshi Haruto Rowan Ezra Gideon Asher Theo Gilbert
Chester Irving Dwight Damian Fabian Marius Darius Amos Floyd Hector Lance Marvin Rufus Seth Terrence Vaughn Zachary""".split()
WOMEN = """Mary Jane Susan Jenny Lucy Alice Linda Anna Lily Rose Nancy Ann Amy Kate Sally Lisa Sue Monica Helen Sarah Janet
Cindy Julia Michelle Rebecca Laura Emily Karen Betty Barbara Carol Catherine Christine Clara Diana Dorothy Elizabeth
Ellen Emma Eva Grace Jennifer Jessica Joan Joanna Judy Julie Kathy Kelly Lena Lucia Margaret Maria Marie Martha Melissa
Nora Olivia Pam Patricia Paula Rachel Rita Ruth Sandra Sandy Sara Sharon Sophie Stella Tina Vivian Wendy Cathy
Angela Annie Bella Daisy Fiona Gina Hannah Iris Isabel Jill Kim Lynn Megan Natalie Sylvia Teresa Harriet Hilda Heidi
Serena Ivy Pearl Ruby Violet Brooke Deborah Josephine Louise Lydia Naomi Pauline Sabrina Sheila Shirley Tracy Vera
Veronica Zoe Chloe Abigail Anita Audrey Ava Agnes Mabel Bianca
Imogen Cordelia Tabitha Matilda Poppy Elspeth Astrid Maren Irina Svetlana Anika Yasmin Amina Zainab Layla Anjali Meera
Divya Ngozi Zola Naledi Hana Emiko Sumi Valentina Ximena Marisol Esperanza Pilar Graciela Ottilie Ursula Brigitte
Margot Celeste Amelie Genevieve Aurora Fabiola Ornella Willa Hazel Myrtle Dahlia Clementine Saffron Sienna Paige Reese
Tessa Zara Bertha Constance Eleanor Enid Esther Frances Gertrude Ida Lottie Maureen Nadine Roberta Trudy Wilma Yvonne
Aisha Annette""".split()
SURNAMES = """Smith Brown Green White Wang Black Johnson Jones Li Wilson Lee Davis Miller Taylor Moore Clark Lewis Walker Hall
Allen Young King Wright Hill Baker Adams Nelson Carter Mitchell Roberts Turner Phillips Campbell Parker Evans Edwards
Collins Stewart Morris Rogers Reed Cook Morgan Bell Murphy Bailey Cooper Ward Cox Watson Brooks Sanders
Price Bennett Wood Ross Henderson Coleman Jenkins Powell Hughes Foster Russell Hayes Chen Zhang Liu Tanaka
Abbott Aldridge Beckett Chaudhry Dunmore Gallagher Hargrove Jankowski Kessler Lindqvist Merriweather Novak Osborne Quimby
Rossi Sorensen Thackeray Vasquez Wexler Winslow Yates Ashworth Dempsey Farrow Hutchins Jessup Lombardi Norwood Prescott
Stanton Upton""".split()
# Held out: neither in training rows nor in DialogSum's training part.
TEST_MEN = """Alfie Angus Bjorn Bryn Caleb Callum Cedric Cyrus Declan Dorian Elias Elmer Emeka Emmett Farid Gareth Harvey Hassan
Henrik Ivo Jabari Jasper Jerome Kwame Lachlan Lars Leroy Levi Lionel Lucian Marcelo Mateo Milos Minho Niall Orson Otto Percy
Quentin Quincy Ravi Samir Sheldon Silas Takumi Tarik Tobias Tyrone Vernon Wesley Wilbur Yusuf Adrian""".split()
TEST_WOMEN = """Adaeze Alma Amara Beatrix Beatriz Beverly Camila Chiara Colette Daphne Delia Dolores Elodie Elsie Ernestine Eunice
Fatima Fern Freya Geraldine Gisela Giulia Gladys Irma Juniper Katya Kavita Keiko Leila Liesel Linnea Marigold Marjorie Milena
Minji Miriam Noelle Noemi Noor Odette Oksana Opal Paloma Philippa Piper Priscilla Priya Rosalind Rosetta Sakura Samira Savannah
Simone Skye Sloane Thea Thelma Virginia Winnie Yolanda Yuki Yvette Zelda""".split()
TEST_SURNAMES = """Ackroyd Bancroft Bixby Calloway Cromwell Ellsworth Fitzroy Gilmore Gupta Ingram Iverson Kaminski Kendrick Langley
Marchetti Montoya Mulligan Oakley Okafor Petrov Ramirez Rutledge Sandoval Takahashi Tully Underwood Vickers Weaver Whitaker
Yamamoto Zimmerman""".split()
POOLS = {"train": (MEN, WOMEN, SURNAMES), "test": (TEST_MEN, TEST_WOMEN, TEST_SURNAMES)}
GENDER = {name: gender for lists in POOLS.values() for names, gender in zip(lists, "mf") for name in names}
POOLS["mixed"] = POOLS["train"]  # and invented names, of these parts
STARTS = "B Br C Cr D Dr F Fl G Gr H J K Kl L M N P Pr Qu R S Sh St T Tr V W Y Z".split()
MIDDLES = "al an ar ell em en er ev il im in ir ol om or ost ul um us av ed ib og ub ant isk orl amb end".split()
ENDS = {"m": "o on as ek an us ir el or il en ar ius and ric".split(), "f": "a ia ina elle ette yn is ora ita anne essa une".split()}
EVERY_NAME = set(GENDER) | set(SURNAMES) | set(TEST_SURNAMES)
PRONOUNS = {"m": ("he", "him", "his", "himself"), "f": ("she", "her", "her", "herself")}

# Who can have done something, from the view of the one who complains: (words, gender; "" for either).
ROLES = {
    "home": [("roommate", ""), ("brother", "m"), ("sister", "f"), ("cousin", ""), ("flatmate", ""), ("husband", "m"), ("wife", "f"), ("son", "m"), ("daughter", "f")],
    "friends": [("friend", ""), ("best friend", ""), ("old friend", ""), ("cousin", ""), ("roommate", "")],
    "neighbors": [("neighbor", ""), ("neighbor", "")],
    "work": [("coworker", ""), ("colleague", ""), ("assistant", ""), ("boss", "")],
    "boss": [("assistant", ""), ("secretary", ""), ("trainee", "")],
    "school": [("classmate", ""), ("friend", ""), ("partner", "")],
}


class Person:
    """A person in a dialogue: `tag` (#Person1#, or none for an absent person), `name` if the dialogue contains it."""

    def __init__(self, tag, name=None, gender=None, full=None):
        self.tag, self.name, self.gender = tag, name, gender
        self.full = full or name or tag

    def pronoun(self, case):
        """case 0 he, 1 him, 2 his, 3 himself; without a name the tag, which has no gender"""
        if self.name is None and self.tag:
            return f"{self.tag}'s" if case == 2 else self.tag
        return PRONOUNS[self.gender][case]


def invented(rng):
    """a name that does not exist, and its gender"""
    gender = rng.choice("mf")
    return rng.choice(STARTS) + "".join(rng.choice(MIDDLES) for _ in range(rng.choice([1, 1, 2]))) + rng.choice(ENDS[gender]), gender


def draw_name(rng, split, taken):
    """an unused first name, and its gender; of split `mixed`: half of them invented"""
    if split == "mixed" and rng.random() < 0.5:
        name, gender = invented(rng)
        while name in GENDER or any(name.startswith(other) or other.startswith(name) for other in taken):
            name, gender = invented(rng)
        GENDER[name] = gender
        taken.add(name)
        return name, gender
    while True:
        gender = rng.choice("mf")
        name = rng.choice(POOLS[split][0 if gender == "m" else 1])
        if name not in taken and all(not (name.startswith(other) or other.startswith(name)) for other in taken):
            taken.add(name)
            return name, gender


def draw_title(rng, split, taken):
    """Mr. or Ms. with a surname"""
    while True:
        surname = rng.choice(POOLS[split][2])
        if surname not in taken:
            taken.add(surname)
            gender = rng.choice("mf")
            return f"{'Mr.' if gender == 'm' else rng.choice(['Ms.', 'Mrs.'])} {surname}", gender
