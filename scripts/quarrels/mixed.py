"""Situations put together at random from verbs, things and places ("You painted my lawnmower behind the bakery"), invented names, and
words that the caller has. They need not make sense: a model that has read many of them copies a deed, a thing and a name from the dialogue, also ones that it has
never seen. Only for training; ../make_quarrels.py leaves out every word that belongs to a held-out situation or thing."""
import people as pp, phrases as ph
from english import plural, third_person

VERBS = """break drop hide sell paint cut wash lose throw-away lend clean fold mark scratch drag carry borrow open close lock unlock fix repair ruin
dent crack kick squeeze shake stretch wrap unwrap pack unpack empty fill weigh measure polish scrub rinse dry melt freeze heat cook bake fry boil
peel chop slice grate taste smell copy print scan photograph film draw trace label number sign stamp seal mail post deliver collect return exchange
rent hire book cancel order buy auction donate recycle crush flatten roll spin flip tip lift lower push pull park steer tow load unload stack
sort count hang-up take-down put-away pick-up tie untie knot braid comb brush trim mow rake water plant dig-up bury cover uncover decorate
glue tape nail screw-together take-apart build rebuild move swap switch-off switch-on charge unplug plug-in record erase delete
upload download type translate correct rewrite criticize praise describe invent steal chase feed walk wake frighten tickle photograph insure weld
bend twist tear rip fill-up pump-up let-down sharpen blunt soak drain bleach dye perfume oil wax sand varnish carve saw drill
mix stir whisk spread sprinkle freeze thaw smoke pickle bottle cork uncork light blow-out ring tune mute pause rehearse""".split()
NOUNS = """accordion album alarm-clock almanac anchor antenna apple-pie apron-string armchair arrow ashtray axe backpack badge bagpipe balloon banjo banner barrel
basket bathrobe bathtub battery-charger beanbag bedspread bell belt bench-vise beret bicycle-pump billboard bird-feeder blanket blazer blowtorch boiler bonnet
bookcase bookmark boot-brush bottle-opener bowling-ball box-kite bracelet bread-bin briefcase broom broth bucket buckle bugle bulldozer bunk-bed bus-ticket
butter-dish buzzer cabin cabinet cable cactus-pot calculator calendar camcorder camp-stove candle candlestick canoe canteen canvas cape-coat caravan card-table
cardigan carpet carriage cart carton cartoon cash-box casserole catalog cauldron cello chain chainsaw chair chalkboard chandelier charger chart
chest chili-sauce chimney chisel choir-book chopping-board chutney cider clamp clarinet cleaver clipboard cloak clothes-line coaster coat-hanger cobbler
coconut coffee-grinder coffee-table coin collar column comb cone cookbook cookie-jar cooler cork-board corkscrew costume cot cottage couch
counter crate crayon crib crossbow crossword cucumber cupboard curtain curry cushion cymbal dart dartboard deckchair desk
dessert dial diary dictaphone dip dishcloth dishwasher display dock-rope doll door-handle doorbell doormat drawer dressing-gown drill-bit drum drum-kit duffel-bag
dumbbell dust-pan duvet earring easel egg-timer electric-fan embroidery encyclopedia engine envelope eraser espresso exhaust eyeglass fern-basket fiddle file-folder filter
fire-alarm fireplace fishbowl fishing-rod flag flannel flashlight flask flute foghorn footstool forklift fountain-pen frame freight-box fruit-salad frying-pan fur-hat fuse fuse-box
gadget garage-door garland gazebo gear gift-basket glider globe glove go-kart goblet gong gown gramophone granola greenhouse gravy-boat griddle guestbook guitar-string
gumball-machine hairbrush hairdryer hammer hammock hamper handbag handcart handkerchief harmonica harness harp harpoon hatbox hatchet heater
hedge hedge-trimmer helmet highchair hinge hoe holster honey-jar hood hook hoop horn horseshoe hose hot-plate hourglass hovercraft hubcap humidifier hut
ice-bucket ice-skate inkwell inbox index-card iron-gate jacket jam-jar javelin jelly jersey jigsaw joystick jug juicer jukebox kayak keg kettle
keyboard keychain kiln kimchi knapsack ladder ladle lamp-shade lampstand lantern laptop lasso lawnmower leaflet leash lectern ledger lens-cap
letter-opener level lever lifebelt lighter limousine linen-basket locker locket log logbook loom loudspeaker lunchbox lute magnet magnifier mallet
mandolin manual map marble marionette marker marmalade mask mast mattress medal megaphone melon menu-board metronome
microphone-stand microwave mincer minivan mitten mixer mixing-bowl mobile-home moccasin mop mosaic motor motorboat mousetrap mouthpiece muffin-tin mug mural
music-box musket napkin nameplate nightgown nightlight noodle-soup notebook notepad nutcracker oar oboe ointment omelet organ organizer ornament
outboard-motor overcoat paddle-boat paint-roller paintbrush pajamas palette pamphlet pancake panel pantry paperclip paperweight parachute parasol parcel parka parking-ticket
passport pasta-machine patio-heater pavilion pebble-path pedal peg pencil-case pendant pennant penknife pepper-mill periscope petition photo-album piccolo pickaxe
picnic-basket pie-dish pillow pillow-fort pinball-machine pincushion pipe pitcher pitchfork placard place-mat planner plank planter plaque plate-rack platform
playhouse playpen plow plunger pocket-watch podium poker-table polaroid poncho porch-swing porcelain-cat portfolio portrait postcard poster potholder potato-peeler powder-puff
power-drill preserve pressure-cooker printer prism projector propeller puddle-suit pulley pumpkin punchbowl puppet purse puzzle-box quill quilt quiver rack racket
radiator radio raft railing rain-barrel raincoat rattle razor receipt record-player recliner recorder reel referee-whistle refrigerator relay remote-control report-card
rifle-case ring-binder robe rocket rocking-chair roller-skate rolling-pin rope rosary rowboat rubber-duck rucksack rudder rug ruler saddle saddlebag safe
salad-bowl sailboat salt-shaker samovar sandal sandbox sandcastle sander satchel saucepan saucer sauna saxophone scaffold scale scarecrow scepter
school-bag scissors-case scooter-helmet scoreboard scrapbook screen screwdriver scroll sculpture seashell seed-tray seesaw sequin-top serving-tray sewing-kit shaving-brush shawl shed shelf
shield shipment shoebox shoehorn shoelace shopping-list shovel shower-curtain shredder shutter sickle sidecar sideboard sieve signpost silo sink sitar
skateboard skewer sketchbook ski-pole skillet sled sleeping-bag sleigh slide slingshot slipper snorkel snow-globe snowboard snowman soap-dish sofa-bed solar-panel soup-ladle
souvenir spade spanner spatula speaker spice-rack spinning-wheel sponge spoon spotlight sprinkler spyglass squeegee stable staff-room-key stage-curtain staircase stamp-album staple-gun stapler
starting-block statue steamer stencil step-ladder stereo stethoscope stew stirrup stool stopwatch storybook stove strainer strap stretcher string-bag stroller
stuffed-bear submarine sugar-bowl suitcase sundress surf-wax suspender sweater swing switchboard sword syringe-box syrup table-cloth table-saw tablet tambourine tandem tank-top tapestry
tape-measure target-board teacup teaspoon telegraph telescope tent terrarium thermos thermostat thimble throne ticket-stub tie-clip tightrope tile tin-whistle toast-rack toboggan
toolbox toothbrush torch-holder totem towel trampoline tractor trailer trapdoor travel-bag tray treadmill treasure-map tricycle tripod trolley trombone trophy trouser-press trumpet trunk
tub tuba tugboat tunic turban turntable turnstile tweezers-case typewriter unicycle urn vacuum-cleaner valve vegetable-patch veil velvet-bag vest videotape vineyard viola violin-bow
visor voucher waffle-iron wagon walking-stick wall-clock wallpaper wand washboard washing-machine watering-hose weathervane weaving-frame wedge-heel weighing-scale wetsuit wheelbarrow wheelchair whisk
whiteboard wicker-chair wig winch wind-chime windmill window-box window-frame windshield wine-rack wishing-well wok woodpile workbench wreath wrench wristwatch xylophone yardstick
yearbook yoga-mat yo-yo zipper zither""".split()
PLACES = """attic-stairs backyard bakery balcony-door barbershop barn bike-shed boathouse bridge bus-depot bus-shelter campfire canal car-wash carousel cave
chapel clinic coal-cellar corner-shop courthouse creek customs-office dance-hall dentist's-office dock drugstore elevator embassy factory farm ferry field fire-station fish-market flea-market football-field forest
fortress gas-station gatehouse golf-course greengrocer's gym-hall hair-salon hay-loft hill hotel-lobby ice-rink jetty junction junkyard kennel kiosk laundromat laundry-room lighthouse lobby lodge meadow
mill mosque motel orchard-wall parking-lot petrol-station pharmacy pier playground police-station pottery prison quarry racetrack railway-bridge reception roof-terrace sawmill schoolyard
shoe-shop skating-rink snack-bar square stadium subway sawmill-yard taxi-stand temple theater-bar tennis-court toll-booth tool-shop town-hall toy-shop tunnel underpass vestry village-hall warehouse waterfall
waiting-room wharf woods workshop""".split()
EVENTS = """picnic graduation book-club-meeting board-game-night bake-sale lottery-draw chess-game opening-ceremony house-warming tea-party yoga-class pottery-class raffle rehearsal-dinner school-fair
street-festival poetry-evening charity-run concert dress-rehearsal inspection job-interview lecture marathon job-fair masked-ball night-shift open-day pancake-breakfast
press-conference puppet-show quarterly-review rowing-race sales-meeting science-fair sermon spelling-bee sports-day staff-outing swimming-lesson tango-lesson tasting team-lunch
tournament trade-show video-call vote weather-report whale-watching-trip wine-tasting workshop-day yard-sale""".split()
DOINGS = "sneeze laugh snore fall-asleep whistle shout hum dance clap yawn giggle cough stamp faint trip argue eat-nuts chew-gum read-the-paper phone text knit play-cards sing-along show-up-late leave-early walk-barefoot bring-a-drum".split()
HOW = ["without asking", "by mistake", "in the rain", "in the dark", "twice", "too early", "too late", "at midnight", "before breakfast", "on purpose", "with dirty hands", "upside down", "the wrong way round", "far too quickly",
       "for a bet", "for fun", "after lunch", "in front of everybody", "on $day", "behind YMYX back", "with one hand", "in the middle of the night", "without reading the instructions", "instead of the old one", "for the second time"]
WITH = "hammer ruler spoon rake shovel towel broom ladder rope hairdryer sponge screwdriver magnet brick stick bucket soap-bubble feather paint-roller ketchup mustard vinegar glue flour honey chalk ink mud-pie shampoo".split()
STUFF = "ketchup vinegar glue flour honey chalk-dust ink shampoo gravy soy-sauce paint sugar pepper sawdust glitter syrup oatmeal toothpaste mayonnaise butter confetti cold-soup lemon-juice green-tea cream custard sand".split()
ASKS = ["What happened to MY OBJ?", "Where IS MY OBJ?", "What did YI do with MY OBJ?", "I want to talk with YE about MY OBJ.", "Have YI seen MY OBJ?", "Look at MY OBJ!", "Do YI know anything about MY OBJ?"]
ASKS_EVENT = ["I want to talk with YE about OBJ.", "What was that at OBJ?", "Everybody talks about OBJ now.", "Do YI remember OBJ?"]
COSTS = ["I can never find another one like it!", "It was a present from $family!", "I needed it on $day!", "It took me $weeks!", "It cost me $amount!", "I trusted YE!", "Everybody is laughing at me!", "I told YE not to do that!",
         "I waited $weeks for it!", "Now I have to start again!", "I can't sleep because of it!", "It was the only thing I asked YE for!", "That was $amount down the drain!", "I have to explain it to $family!"]
WHYS = ["slip", "forgot", "busy", "rush", "unaware2", "late", "money", "lazy"]


# Complaints about a thing: {n} another thing, {v} a verb in the third person, {b} in its base form, {s} stuff, {w} a place.
FAULTS = ["it {v} the {n}", "it {v} everything {w}", "it {v} the {n} {w}", "the {n} {v} by itself", "the {n} {v} too early", "the {n} came off", "the {n} was missing", "it smells of {s}", "it tastes of {s}",
          "there was {s} in the {n}", "there was a {n} in it", "it is full of {s}", "nobody could {b} the {n}", "nobody knows where the {n} is", "it never {v} the {n}", "it only works with a {n}", "the {n} is too small",
          "the {n} is too loud", "the {n} was {w}", "they forgot the {n}", "it fell into the {n}", "it looks like a {n}", "you have to {b} it twice", "it broke my {n}", "the {n} gets stuck", "it {v} my {n}", "the {n}s were empty"]
HELLOS = ["How was the OBJ?", "What happened to MY OBJ?", "How do you like the OBJ?", "You went there for the OBJ, didn't you?", "Is there something wrong with the OBJ?", "Tell me about the OBJ.", "Did you see the OBJ?"]
COSTS_THING = ["I paid $amount for that!", "I want my $amount back!", "I waited $weeks for it!", "I could throw it out of the window!", "I was looking forward to it all week!", "I'm never doing that again!",
               "It was a present!", "I needed it on $day!"]


def words(text):
    return text.replace("-", " ")


class Pool:
    """draws words; none of `left_out`. `more`: other words to draw from, also as things and verbs, and in parts: every token of the
    vocabulary is to be copied now and then, because a model never writes a token that it has not had to write. So the words of
    `left_out` are also starts of longer words that do not exist ("netfast")"""

    def __init__(self, rng, left_out, more):
        self.rng, self.left_out, self.more, self.starts = rng, left_out, more, [*more, *4 * sorted(left_out)]

    def one(self, pool):
        while True:
            found = words(self.rng.choice(pool))
            if not set(found.split()) & self.left_out:
                return found

    def other(self):
        """a word of `more`, or one that does not exist: the start of a word and the end of another, or like a name"""
        roll = self.rng.random()
        if roll < 0.35:
            return self.one(self.more)
        if roll < 0.4:
            return pp.invented(self.rng)[0].lower()
        start, end = self.rng.choice(self.starts), self.one(self.more)[-self.rng.choice([1, 2, 3, 4, 5]):]
        if roll < 0.7:
            start = start[:self.rng.choice([2, 3, 3, 4, 5])]
        return start + end if start + end not in self.left_out else self.other()

    def noun(self):
        return self.one(NOUNS) if self.rng.random() < 0.3 or not self.more else self.other()

    def thing(self):
        noun = self.noun()
        return noun if self.rng.random() < 0.6 else f"{self.noun().split()[0]} {noun.split()[-1]}"

    def verb(self):
        if self.more and self.rng.random() < 0.35:
            return self.other(), "", ""
        return self.rng.choice([v for v in VERBS if v.split("-")[0] not in self.left_out]).partition("-")


def fault_situation(rng, left_out, more=()):
    """a situation like those of objects.txt"""
    pool, det = Pool(rng, left_out, more), rng.choice(["the", "the", "my"])
    fill = lambda text: text.format(n=pool.thing(), v=third_person(pool.verb()[0]), b=pool.verb()[0], s=pool.one(STUFF),
                                    w=f"{rng.choice(['in', 'at', 'near', 'behind', 'on'])} the {pool.one(PLACES)}")
    return {"name": "mixed", "split": "mixed", "tags": [], "det": [det], "objs": [pool.thing()], "faults": [fill(text) for text in rng.sample(FAULTS, 2)], "hello": [text.replace("MY", "your") for text in HELLOS],
            "cost": COSTS_THING, "out": rng.sample(sorted(set(ph.THING_OUTS) - {"drivehim", "bike", "move", "update"}), 3)}


def situation(rng, left_out, more=()):
    """a situation like those of deeds-*.txt"""
    pool = Pool(rng, left_out, more)
    one, thing = pool.one, pool.thing

    def where():
        roll = rng.random()
        if roll < 0.4:
            return f"{rng.choice(['in', 'at', 'near', 'behind', 'in front of', 'outside'])} the {one(PLACES)}"
        if roll < 0.6:
            return f"with {rng.choice(['the', 'a'])} {one(WITH)}"
        return rng.choice([how for how in HOW if "YMYX" not in how])

    def verb():
        first, _, rest = pool.verb()
        return f"{first} {{}} {rest}".strip() if rest and rng.random() < 0.3 else f"{words(first + ('-' + rest if rest else ''))} {{}}"

    def why():
        forms = ["I was looking at the {n}", "I had to {v} first", "the {n} fell on my foot", "I thought it was for the {e}", "I couldn't find the {n}", "I was late for the {e}", "I wanted to {v}",
                 "somebody left a {n} {w}", "I was afraid of the {n}", "I needed it for the {e}", "my $relative wanted to {v}", "the {n} was too heavy", "the {n} was broken", "I saw a {n} {w}"]
        return rng.choice(forms).format(n=thing(), v=verb().format(f"the {thing()}"), e=one(EVENTS), w=f"{rng.choice(['in', 'at', 'near', 'behind', 'outside'])} the {one(PLACES)}")

    things, roll = "MY OBJ", rng.random()
    obj = thing()
    if rng.random() < 0.25 and obj[-1] not in "sxh":
        obj = f"{plural(obj)}+"
    asks = ASKS
    if roll < 0.45:
        do = f"{verb().format(things)} {where()}"
    elif roll < 0.53:
        do = verb().format(things)
    elif roll < 0.6:
        do = f"forget to {verb().format(things)}"
    elif roll < 0.66:
        do = f"not {verb().format(things)}"
    elif roll < 0.8:
        place = f"{rng.choice(['in', 'under', 'behind', 'next to', 'on top of', 'inside'])} the {rng.choice([one(PLACES), thing(), thing()])}"
        do = f"{rng.choice(['put', 'leave', 'hide', 'drop', 'throw', 'forget', 'bury', 'store', 'hang', 'lock', 'spill'])} {things} {place}"
    elif roll < 0.9:
        do = f"{rng.choice(['spill', 'pour', 'spray', 'throw', 'put', 'smear', 'sprinkle', 'rub', 'squirt'])} {one(STUFF)} {rng.choice(['on', 'over', 'into', 'all over'])} {things}"
    else:
        obj, asks = f"{rng.choice(['the', 'the', 'MY', 'our'])} {one(EVENTS)}", ASKS_EVENT
        do = f"{words(rng.choice(DOINGS))} {rng.choice(['at', 'during'])} OBJ"
    return {"name": "mixed", "split": "mixed", "tags": [rng.choice(["home", "friends", "neighbors", "work", "school"])], "do": [do], "objs": [obj],
            "ask": asks, "cost": COSTS, "why": [rng.choice(WHYS), why()], "out": rng.sample(sorted(ph.OUTS), 3)}
