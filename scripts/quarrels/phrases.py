"""Sentences that fit many quarrels: reasons, outcomes, advice, how people start to talk, get angry and end. What happens in a quarrel is in
the .txt files here. Capital words are filled in by ../make_quarrels.py: YI YE YMY (the counterpart as subject, as object, possessive), MY ME
(the speaker), OBJ (the thing), IT IS WAS ONE (it or they, is or are, was or were, one or ones), $day and other fillers from FILL."""

FILL = {
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "amount": "twenty dollars|thirty dollars|forty dollars|fifty dollars|eighty dollars|ninety dollars|a hundred dollars|two hundred dollars|three hundred dollars|five hundred dollars|a thousand dollars|sixty pounds|ninety euros".split("|"),
    "number": "three four five six eight ten twelve twenty thirty fifty".split(),
    "weeks": "two weeks|three weeks|six weeks|a month|two months|four months|half a year".split("|"),
    "hours": "one hour|two hours|three hours|four hours|half an hour|almost an hour".split("|"),
    "time": "six o'clock|seven o'clock|eight o'clock|nine o'clock|noon|half past two|half past four".split("|"),
    "place": "library|station|gym|bank|bus stop|supermarket|swimming pool|park|market|hospital|music school|church|harbor|hotel|cafe|post office".split("|"),
    "room": "kitchen bathroom garage cellar attic bedroom office hallway garden".split(),
    "animal": "cat dog puppy kitten".split(),
    "relative": "brother sister cousin uncle aunt nephew niece father mother grandfather".split(),
    "family": "my aunt|my uncle|my grandfather|my best friend|my late father|my godmother|my sister|my cousin".split("|"),
    "drink": "coffee|red wine|tomato juice|hot tea|orange juice|cocoa|beer|lemonade".split("|"),
    "food": "nuts garlic shrimp eggs milk onions mustard cheese".split(),
    "color": "green orange purple red pink blue yellow".split(),
    "toy": "a video game|a new phone|a pair of shoes|a guitar|a trip to the sea|a drone|a leather bag|a watch".split("|"),
    "chief": "boss director manager client board president".split(),
    "water": "lake river pond sea fountain".split(),
    "post": "gate|lamp post|tree|wall|shopping cart|garbage can|fence".split("|"),
}

# Reasons, told by the one at fault about himself or herself; always in the past.
WHYS = {
    "slip": ["I tripped over the $animal", "my hand slipped", "I slipped on the wet floor", "I turned around too fast", "I didn't see IT in the dark",
             "the $animal ran between my legs", "I lost my balance", "I stumbled over a bag", "I was carrying too many things", "somebody pushed me from behind"],
    "forgot": ["I completely forgot about it", "I had too many other things on my mind", "I mixed up the days", "I didn't look at the calendar",
               "I thought it was only on $day", "I was on the phone with my $relative and forgot", "I went to the $place first and forgot about it",
               "I didn't write it down", "I was thinking about my exam", "I was too tired to think"],
    "busy": ["I was on the phone with my $relative", "I had to help my $relative at the $place", "I was playing a game and didn't notice the time",
             "I had to work late on $day", "I was at the $place all day", "I had visitors from $town", "I was watching the match", "I had to study for an exam",
             "I was busy in the $room"],
    "lazy": ["I didn't feel like it", "I was too tired after work", "I wanted to watch a movie first", "I wanted to do it later", "I fell asleep on the sofa"],
    "rush": ["I was in a hurry", "I had to catch the bus", "I was late for work", "my taxi was waiting outside", "I only had five minutes",
             "somebody was waiting for me at the $place", "I wanted to be home by $time"],
    "busywork": ["I had too much work", "I was alone in the office", "two of my colleagues were ill", "I had $number other orders to finish",
                 "I was in a meeting until $time", "the phone rang all day", "nobody told me that it was urgent"],
    "late": ["I missed the bus", "I overslept", "there was a traffic jam near the $place", "my train was late", "I had to stop at the $place",
             "I couldn't find a parking space", "I got lost near the $place", "I met an old friend from $town", "I had a flat tire", "I thought it started at $time"],
    "unaware": ["I thought IT WAS mine", "I thought YI didn't need IT any more", "I didn't know IT WAS yours", "I thought nobody wanted IT",
                "I didn't think that YI would mind"],
    "unaware2": ["I thought nobody was at home", "I didn't think that it was a problem", "I thought YI WAS on vacation", "I didn't know the rules here"],
    "money": ["I lost my job in March", "I had no money left", "I needed the money for the dentist", "I lent all my money to my $relative",
              "my wages came too late", "I had to pay for the car first"],
}
TOWNS = "Boston Denver Dallas Chicago Oxford Leeds Dublin Toronto Sydney Vienna".split()
FILL["town"] = TOWNS

# Outcomes: what the one at fault answers => how a summary tells it. YE, YMY: the one who complains. MINE: of the one who answers.
OUTS = {
    "replace": ["I'll buy YE a new ONE. => promises to buy a new ONE", "I'll get YE another ONE on $day. => promises to get another ONE on $day",
                "Let me buy YE a new ONE, please. => offers to buy a new ONE", "You'll have a new ONE by $day. => promises a new ONE by $day"],
    "rebuy": ["I'll go to the store and buy more. => promises to go to the store and buy more", "I'll bring YE something from the bakery. => promises to bring something from the bakery",
              "I'll pay for YMY lunch tomorrow. => offers to pay for lunch tomorrow"],
    "pay": ["I'll pay for it, I promise. => promises to pay for it", "I'll give YE $amount on $day. => promises to pay $amount on $day",
            "How much do YI want? I'll pay it. => offers to pay", "My insurance will pay for it. => says the insurance will pay for it",
            "I can pay YE $amount a month. => offers to pay $amount a month"],
    "payback": ["I'll pay it all back by $day. => promises to pay it all back by $day", "I'll give YE $amount now and the rest later. => offers $amount now and the rest later",
                "I'll work on weekends until it is paid. => promises to work on weekends until it is paid"],
    "glue": ["I can glue it together again. => offers to glue it together again", "My $relative can repair things like that. => says a $relative can repair it"],
    "repair": ["I'll take IT to the repair shop on $day. => promises to take IT to the repair shop on $day", "I can repair IT this weekend. => offers to repair IT this weekend",
               "My $relative will repair IT for us. => says a $relative will repair IT"],
    "denies": ["It's only a small thing. => says it is only a small thing", "Nobody will notice it. => says nobody will notice it"],
    "cook": ["I'll cook something else for YE. => promises to cook something else", "I'll make a new one right now. => promises to make a new one right now",
             "I'll cook dinner for YE on $day. => offers to cook dinner on $day"],
    "share": ["YI can have mine. => offers to share", "Take what I have left in the $room. => offers what is left in the $room"],
    "search": ["I'll go back to the $place and look for IT. => promises to look for IT at the $place", "I'll look for IT in the $room right now. => promises to look for IT in the $room",
               "I'll call the lost and found office. => promises to call the lost and found office"],
    "nexttime": ["I'll set an alarm next time. => promises to set an alarm next time", "It won't happen again. => promises that it will not happen again",
                 "I'll write myself a note on the door. => promises to write a note on the door"],
    "gift": ["I'll bring YE some chocolate on $day. => wants to bring some chocolate on $day", "Let me invite YE for dinner on $day. => invites HIM for dinner on $day",
             "I have a present for YE in the car. => has a present in the car"],
    "plant": ["I'll plant a new one on $day. => promises to plant a new one on $day", "I'll buy YE some new plants at the market. => promises to buy some new plants at the market"],
    "sorry": ["I'm so sorry. Please forgive me. => apologizes", "I'm really sorry. I don't know what to say. => is very sorry",
              "I apologize. It was all my fault. => apologizes", "I'm sorry. I'll make it up to YE. => apologizes and wants to make it up to HIM"],
    "redo": ["I'll do it right now. => agrees to do it right now", "Give me until $time, and it will be done. => asks for time until $time"],
    "comeback": ["I'll do it properly on $day. => promises to do it properly on $day", "I'll do it again for free. => offers to do it again for free"],
    "tomorrow": ["I'll do it tomorrow. => promises to do it tomorrow", "I'll do it on $day, all right? => wants to do it on $day"],
    "swap": ["I'll do it for the rest of the week. => offers to do it for the rest of the week", "Let's make a new list of who does what. => suggests making a new list"],
    "paytoday": ["I'll pay it today. => promises to pay it today", "I'll go to the bank at $time. => promises to go to the bank at $time"],
    "borrow": ["I'll borrow some money from my $relative. => wants to borrow money from a $relative"],
    "excuse": ["I'll write to them and explain it. => promises to write to them and explain it"],
    "quiet": ["I'll be quiet from now on. => promises to be quiet from now on", "I'll stop at ten o'clock from now on. => promises to stop at ten o'clock"],
    "headphones": ["I'll buy some headphones on $day. => wants to buy some headphones on $day"],
    "refuse": ["I don't see what the problem is. => does not see the problem", "I won't say sorry for that. => refuses to apologize",
               "Then don't talk to me any more. => does not want to talk any more", "I would do it again. => would do it again"],
    "clean": ["I'll clean everything tomorrow. => promises to clean everything tomorrow", "I'll start to clean up right now. => promises to clean up right now",
              "I'll pay somebody to clean it. => offers to pay somebody to clean it"],
    "askfirst": ["I'll ask YE first next time. => promises to ask first next time", "From now on, I'll always ask YE. => promises to ask from now on"],
    "return": ["I'll bring IT back on $day. => promises to bring IT back on $day", "I'll bring IT back tonight. => promises to bring IT back tonight"],
    "silent": ["I won't say another word about it. => promises not to say another word", "From now on, I'll keep quiet. => promises to keep quiet"],
    "talkto": ["I'll talk to them and explain it. => wants to talk to them and explain it", "I'll call them tonight and say it was my fault. => promises to call them tonight"],
    "earlier": ["I'll leave home earlier next time. => promises to leave home earlier next time", "Next time I'll take a taxi. => promises to take a taxi next time"],
    "makeup": ["Let's do something together on $day. => suggests doing something together on $day", "I'll take YE out for dinner on $day. => wants to take HIM out for dinner on $day"],
    "lesson": ["Please show me how to do it. => asks HIM to show how to do it", "From now on, YI can do it. => says that HE can do it from now on"],
    "restore": ["My $relative can try to get IT back. => says a $relative can try to get IT back", "Maybe I can still find a copy. => hopes to find a copy"],
    "redoit": ["I'll help YE do it again. => offers to help do it again", "I'll sit down with YE on $day and do it again. => offers to do it again together on $day"],
    "pizza": ["Let's order some pizza. I'll pay for it. => offers to pay for pizza", "I'll get something from the Chinese restaurant. => offers to get something from the Chinese restaurant"],
    "again": ["Let's play again. I'll be honest this time. => suggests playing again"],
    "shopping": ["I'll go to the store before $time. => promises to go to the store before $time", "I'll buy some on the way home. => promises to buy some on the way home"],
    "lock": ["I'll check the door twice from now on. => promises to check the door twice", "I'll put a note on the door. => wants to put a note on the door"],
    "payhair": ["I'll pay for a real hairdresser. => offers to pay for a real hairdresser"],
    "grow": ["It will grow again. => says it will grow again"],
    "honest": ["I'll tell YE everything now. => promises to tell everything now", "From now on, I'll tell YE the truth. => promises to tell the truth from now on"],
    "tidy": ["I'll tidy up right now. => promises to tidy up right now", "I'll pick everything up before $time. => promises to pick everything up before $time"],
    "getback": ["I'll get IT back for YE on $day. => promises to get IT back on $day", "I know where IT IS. I'll get IT now. => promises to get IT back now"],
    "notagain": ["I'll never do that again. => promises never to do that again", "It was the first and the last time. => says it was the first and the last time"],
    "rewatch": ["Let's watch it again from the beginning. => suggests watching it again from the beginning"],
    "repaint": ["I'll paint IT white again on $day. => promises to paint IT white again on $day"],
    "likes": ["I think it looks very nice. => thinks it looks very nice"],
    "sell": ["I'll sell my bicycle and give YE the money. => promises to sell a bicycle and give HIM the money"],
    "nanny": ["Let's ask my $relative to help next time. => suggests asking a $relative for help next time"],
    "doctor": ["I'll drive YE to the doctor. => offers to drive HIM to the doctor"],
    "fence": ["I'll build a higher fence this summer. => promises to build a higher fence"],
    "move": ["I'll move IT right away. => promises to move IT right away", "I'll take IT to my $relative's place on $day. => promises to move IT on $day"],
    "drive": ["I'll drive there right now. => promises to drive there right now"],
    "takedown": ["I'll take it down right now. => promises to take it down right now"],
    "sew": ["I can sew IT. Nobody will see it. => offers to sew IT", "My $relative can sew IT. => says a $relative can sew IT"],
    "askway": ["Let's ask somebody for help. => suggests asking somebody for help"],
    "fetch": ["I'll take a taxi and get IT. => offers to take a taxi and get IT"],
    "newtickets": ["I'll ask if they can print new ones. => wants to ask for new ones", "I'll pay for new ones. => offers to pay for new ones"],
    "sing": ["I'll sing a song and it will be quiet again. => wants to sing a song"],
    "tonight": ["I'll stay up tonight until it is done. => promises to stay up until it is done", "YI will have it by $time. => promises to have it done by $time"],
    "time": ["I need two more days, please. => asks for two more days", "Please give me until $day. => asks for time until $day"],
    "correct": ["I'll correct it before $time. => promises to correct it before $time", "I'll write a new one tonight. => promises to write a new one tonight"],
    "check": ["I'll check everything twice next time. => promises to check everything twice next time"],
    "tellchief": ["I'll tell the $chief the truth on $day. => promises to tell the $chief the truth on $day"],
    "callback": ["I'll call them back and say sorry. => promises to call back and apologize"],
    "flowers": ["I'll send them some flowers on $day. => wants to send some flowers on $day"],
    "alarm": ["I'll buy a louder alarm clock. => promises to buy a louder alarm clock"],
    "stay": ["I'll stay late tonight to make up for it. => offers to stay late tonight", "I can work on $day instead. => offers to work on $day instead"],
    "rebook": ["I'll find something else before $time. => promises to find something else before $time"],
    "call": ["I'll call everybody now and explain it. => promises to call everybody and explain it"],
    "police": ["I'll go to the police and report it. => promises to go to the police"],
    "tellteacher": ["I'll tell the teacher that it was my fault. => promises to tell the teacher the truth"],
    "train": ["I'll train twice as hard from now on. => promises to train twice as hard"],
    "quit": ["Then I'll leave and YI can find somebody else. => threatens to leave"],
    "lend": ["YI can take mine until $day. => lends HIM another ONE until $day"],
    "ice": ["I'll buy YE an ice cream after school. => wants to buy HIM an ice cream"],
    "dry": ["I'll help YE dry everything. => offers to help dry everything"],
    "cleaning": ["We'll pay for the cleaning, of course. => promises to pay for the cleaning"],
    "freemeal": ["YI don't have to pay for the meal. => says the meal is free", "The dessert is free today. => offers a free dessert"],
    "bringnew": ["I'll bring YE the right plate at once. => promises to bring the right plate at once"],
    "upgrade": ["I can give YE a bigger room for the same price. => offers a bigger room for the same price"],
    "refund": ["I'll give YE YMY money back. => promises to give the money back", "YI can have $amount back. => offers $amount back"],
    "exchange": ["I'll get YE a new one from the back. => promises to get a new one"],
    "manager": ["YI can speak to the manager. => says HE can speak to the manager", "I'll call the manager for YE. => promises to call the manager"],
    "fixhair": ["I can try to fix it for free. => offers to fix it for free"],
    "freeride": ["YI don't have to pay for the ride. => says the ride is free"],
    "faster": ["I know a faster way from here. => knows a faster way"],
    "newone": ["I'll order a new one today. => promises to order a new one today"],
    "rightaway": ["I'll help YE right away. => promises to help right away"],
    "lessrent": ["YI can pay $amount less this month. => offers a lower rent this month"],
    "coffee": ["Let me invite YE for a coffee. => invites HIM for a coffee"],
    "discount": ["I'll give YE a discount. => offers a discount"],
    "freevisit": ["The next visit is free. => says the next visit is free"],
    "newcake": ["I'll make a new ONE before $time. => promises to make a new ONE before $time"],
    "practiceB": ["I'll practice every day until $day. => promises to practice every day"],
    "rebuild": ["I'll help YE build IT again on $day. => offers to help build IT again on $day", "I'll build IT again myself. => promises to build IT again"],
}
# What fits every quarrel between two people.
ANY_OUT = ["Please don't talk to me like that. It was a mistake. => asks HIM not to talk like that", "YI don't have to be so rude. => asks HIM not to be rude",
           "Stop shouting. Everybody makes mistakes. => says that everybody makes mistakes", "Maybe YI are right. I'll do better next time. => promises to do better next time",
           "If YI say that again, I'm leaving. => threatens to leave", "Can we talk about it when YI are calm? => wants to talk about it later"]

# What the listener advises about somebody who is not there => how a summary tells it. HIM: the one who complains, THEM: the one who is not there.
ADVICE = {
    "money": ["Ask THEM to pay for it. => suggests asking for money", "YI should write THEM a letter and ask for the money. => suggests writing a letter",
              "A friend of mine is a lawyer. I can give YE the number. => offers the number of a lawyer"],
    "talk": ["You should talk to THEM about it. => advises HIM to talk to THEM", "Did YI tell THEM how YI feel? => asks if HE told THEM about it",
             "Tell THEM that it hurt YE. => advises HIM to be open with THEM"],
    "calm": ["Try to calm down and sleep on it. => advises HIM to sleep on it", "Please don't say such things. Let's stay polite. => asks HIM to stay polite",
             "I would be angry, too. => would be angry, too", "I understand that YI are upset. => understands HIM", "Everybody makes mistakes. => says that everybody makes mistakes",
             "Forget about it. Let's go for a walk. => suggests going for a walk", "Come to my place on $day, and we'll talk. => invites HIM on $day"],
    "service": ["YI should talk to the manager. => suggests talking to the manager", "Don't go there again. => advises HIM not to go there again",
                "Write a review on the internet. => suggests writing a review", "Ask for YMY money back. => suggests asking for the money back",
                "My $relative knows a better place. => says a $relative knows a better place"],
    "home": ["Maybe YI need some rules at home. => suggests making some rules", "YI can stay with us for a while. => invites HIM to stay for a while"],
    "work": ["YI should talk to the $chief. => suggests talking to the $chief", "Let's talk about it in the meeting on $day. => wants to talk about it in the meeting on $day",
             "I can help YE with it on $day. => offers to help on $day"],
    "school": ["YI should tell the teacher. => suggests telling the teacher", "Sit with me tomorrow. => offers to sit with HIM tomorrow"],
}
# What the listener answers to a complaint about a thing.
THING_OUTS = {
    "staysaway": ["Thanks for telling me. Then I'll stay at home. => decides to stay at home", "Then I won't go there. => decides not to go there"],
    "liked": ["Really? My $relative liked it a lot. => says a $relative liked it", "I liked it, to be honest. => liked it"],
    "another": ["Try another one. => suggests trying another one", "My $relative can recommend a better one. => says a $relative can recommend a better one"],
    "takeback": ["Take IT back to the store on $day. => suggests taking IT back to the store on $day", "You can still return IT. => says HE can still return IT"],
    "look": ["Let me have a look at IT. => offers to have a look at IT", "I'll come over on $day and look at IT. => offers to look at IT on $day"],
    "update": ["Did you install the update? => asks about the update", "Turn it off and on again. => advises HIM to turn it off and on again"],
    "otherplace": ["Let's go somewhere else next time. => suggests going somewhere else next time", "There is a better one near the $place. => knows a better one near the $place"],
    "review": ["You should write a review. => suggests writing a review"],
    "drivehim": ["I can drive YE on $day. => offers to drive HIM on $day", "I can give YE a ride tomorrow. => offers a ride tomorrow"],
    "bike": ["Why don't you go by bike? => suggests going by bike", "It isn't far on foot. => says it is not far on foot"],
    "complain": ["You should complain to the manager. => suggests complaining to the manager", "Write them a letter. => suggests writing a letter"],
    "move": ["Why don't you look for a new one? => suggests looking for a new one", "There is a free room in our house. => knows about a free room"],
    "landlordtalk": ["Talk to your landlord. => suggests talking to the landlord"],
    "stay": ["You can stay with us until $day. => invites HIM to stay until $day"],
    "deletes": ["Just delete it. => advises HIM to delete it"],
    "garage": ["My $relative can repair IT on $day. => says a $relative can repair IT on $day", "Take IT to the shop near the $place. => suggests the shop near the $place"],
    "sell": ["Sell IT and buy a new one. => suggests selling IT", "My $relative would buy IT. => knows a $relative who would buy IT"],
    "lendone": ["I can lend YE mine. => offers to lend HIM another one"],
    "cancel": ["You can still cancel it. => says HE can still cancel it", "Stop going there. => advises HIM to stop going there"],
    "repairman": ["I'll call the repairman on $day. => promises to call the repairman on $day", "My $relative can repair things like that. => says a $relative can repair it"],
    "newone": ["Let's buy a new one on $day. => wants to buy a new one on $day", "I saw a cheap one near the $place. => saw a cheap one near the $place"],
    "help": ["Let's read the rules together. => wants to read the rules together", "I can show you how it works. => offers to show how it works"],
    "refundask": ["Ask for your money back. => suggests asking for the money back", "You should write them a letter. => suggests writing a letter"],
    "online": ["Why don't you order online? => suggests ordering online"],
    "giveaway": ["Give it to me. My $relative can use it. => wants it for a $relative", "Then give it away. => suggests giving it away"],
    "call": ["Call them again at $time. => suggests calling them again at $time", "I have a number you can call. => knows a number to call"],
    "tomorrowtry": ["Try it again tomorrow morning. => suggests trying it again tomorrow morning"],
    "otherfirm": ["My $relative knows a better one. => says a $relative knows a better one"],
    "bosstalk": ["Let's talk to the $chief on $day. => wants to talk to the $chief on $day", "Tell the $chief what you think. => advises HIM to tell the $chief"],
    "waitsee": ["Let's wait a month and see. => wants to wait a month"],
    "agrees": ["I don't like it, either. => agrees", "I think so, too. => agrees"],
    "quitteam": ["Why don't you leave? => suggests leaving"],
    "talkteam": ["Tell the others how you feel. => suggests telling the others"],
    "practice": ["Then you need more practice. => says that they need more practice"],
    "doctor": ["You should show that to a doctor. => suggests going to a doctor"],
}
ANY_THING_OUT = ["Come on, it can't be that bad. => does not think it is that bad", "I'm sorry to hear that. => is sorry to hear that",
                 "You complain about everything these days. => says that HE complains about everything"]

# Two lines before the quarrel: small talk. The first is said by the one who speaks first. $n.: somebody who is not there.
GREETINGS = {
    "casual": [("Hi! How are you?", "Fine, thanks. A little tired."), ("There you are. I need to talk to you.", "What is it? I'm listening."),
               ("Hello! Have you had lunch yet?", "Yes, I had some soup with $name."), ("It's cold today, isn't it?", "Yes, I should have brought a coat."),
               ("Did you see $name today?", "Yes, at the $place. Everybody was there."), ("$name called an hour ago.", "Thanks. I'll call back on $day."),
               ("How was your day?", "Long. I had to go to the $place and the dentist."), ("Would you like some tea?", "Yes, please. With a little milk."),
               ("What are you doing on $day?", "I'm going to $town with $name."), ("Good morning. Did you sleep well?", "Not really. It was too hot."),
               ("Have you seen my glasses?", "They are on the table, next to the newspaper."), ("The bus was full again.", "I know. I walked home from the $place."),
               ("Is $name still at the $place?", "I think so. The car isn't here."), ("Do you have a minute?", "Sure. I was only reading."),
               ("I like your new jacket.", "Thank you. It was on sale."), ("Did it rain in $town?", "The whole week. But the food was good.")],
    "work": [("Good morning. How was your weekend?", "Very nice. We drove to $town."), ("Do you have a minute?", "Of course. Come in and sit down."),
             ("Is the meeting with $name still at $time?", "Yes, in the small room."), ("Can you close the door, please?", "Sure. What is it about?"),
             ("You're here early today.", "Yes, I have a lot to do before $day."), ("$name is looking for you.", "I know. I'll call back after lunch."),
             ("The new printer has arrived.", "Finally. The old one was so slow.")],
    "formal": [("Good morning. Can I help you?", "I hope so."), ("Next, please. What can I do for you?", "It's about something serious."),
               ("Hello. Please have a seat.", "No, thank you. I'd rather stand.")],
    "sudden": [],
}
# How the angry one starts, knowing it or guessing; {past} {base} {have}: what was done.
ASKS = ["YI {past}, didn't YI?", "I heard that YI {past}. Is that true?", "I can't believe that YI {past}.", "Did YI {base}?",
        "Is it true that YI {past}?", "I have to talk to YE. YI {past}.", "$name says that YI {past}.", "So it was YE. YI {past}!", "What is this? YI {past}!"]
ASKS_WHY = ["Why did YI {base}?", "Can YI tell ME why YI {past}?", "YI {past}. Why did YI do that?"]
ASKS_NOT = ["YI {past}, did YI?", "I heard that YI {past}. Is that true?", "I can't believe that YI {past}.", "$name says that YI {past}. Is that right?"]
ASKS_NOT_WHY = ["Why didn't YI {rest}?", "YI {past}. Why not?", "Can YI tell ME why YI {past}?"]
ADMITS = ["Yes, it's true. {why}.", "Yes, I did. {why}.", "I know. {why}.", "Yes, that was me. {why}.", "Well, yes. {why}.", "You're right. {why}.", "Okay, I admit it. {why}.",
          "I can explain it. {why}.", "It's true, but {why}.", "I did, because {why}."]
ADMITS_NOT = ["It's true. {why}.", "You're right. {why}.", "I know. {why}.", "I can explain it. {why}.", "I didn't, because {why}."]
ADMITS_WHY = ["Because {why}.", "I'm sorry. {why}.", "Well, {why}.", "I can explain it. {why}.", "I know, I know. {why}.", "You know why. {why}.", "Please don't be mad. {why}."]
# The answer to a question that does not say what was done.
TELLS = ["I {past}. {why}.", "I'm afraid I {past}. {why}.", "Well, I {past}. {why}.", "I have to admit it. I {past}, because {why}.", "It's my fault. I {past}. {why}.",
         "I {past} because {why}.", "Okay, I {past}. {why}.", "Please stay calm. I {past}. {why}."]
# The one at fault starts.
CONFESSES = ["I have to tell you something. I {past}.", "I'm afraid I {past}.", "Please don't be angry, but I {past}.", "There is something you should know. I {past}.",
             "I feel bad about this. I {past}.", "Something happened. I {past}.", "You won't like this. I {past}.", "Before you hear it from $name: I {past}."]
WHATS = ["What? How could that happen?", "You did what? Why?", "That can't be true. Why?", "Say that again!", "I hope that is a joke. Why?", "What? Are you serious?"]
EXPLAINS = ["{why}.", "Well, {why}.", "It's simple. {why}.", "I don't know. {why}.", "{why}. It happened so fast.", "Let me explain. {why}."]

# Third persons: how the listener asks, how the angry one tells it. {C}: "my roommate Greg"; {he} did it.
HELLOS = ["You look upset. What happened?", "What's the matter with you?", "Why are you so angry?", "You don't look happy today.", "Is everything all right? You look pale.",
          "How are things at home?", "Hi! How was your day?", "What's wrong? Tell me.", "Why did you slam the door?"]
STORIES = ["It's {C}. {He} {past}.", "It's because of {C}. {He} {past}.", "{C} {past}.", "Guess what {C} did! {He} {past}.", "You won't believe it. {C} {past}.",
           "I'm so angry with {C}! {He} {past}.", "I had a fight with {C}. {He} {past}."]
LISTENS = ["Really? What did {he} say?", "Did {he} explain it?", "And what does {he} say about it?", "Did you talk to {him} about it?"]
LISTENS_WHY = ["Oh no. Why did {he} do that?", "How could that happen?", "That's terrible. And why?", "Do you know why?"]
LISTENS_NOT_WHY = ["Oh no. Why not?", "How could that happen?", "Do you know why?"]
REPORTS = ["{He} says that {why}.", "{He} told me that {why}.", "{Why}, that's what {he} told me.", "{He} only said that {why}."]
REPORTS_WHY = ["Because {why}, {he} says.", "{He} says that {why}.", "{He} told me that {why}.", "{Why}, that's what {he} told me."]

# Lines of argument in between: the one at fault, then the angry one.
ARGUES = [("It wasn't on purpose!", "That doesn't help me now!"), ("You did the same thing last year.", "That was something else!"), ("Calm down, please.", "Don't tell me to calm down!"),
          ("I said I'm sorry!", "That's not enough!"), ("It's not the end of the world.", "For me it is!"), ("$name does that all the time.", "I'm not talking about $name!"),
          ("You were not very nice to me, either.", "Don't change the subject!"), ("Why are you shouting at me?", "Because you never listen!"),
          ("Nobody is perfect.", "Nobody else does things like that!"), ("Can't we forget about it?", "No, we can't!"), ("Let's talk about it after dinner.", "No, we'll talk about it now!")]
ARGUES_FORMAL = [("It wasn't on purpose.", "That doesn't help me now!"), ("Please calm down.", "Don't tell me to calm down!"), ("I said I'm sorry.", "That's not enough!"),
                 ("These things can happen.", "Not to me!"), ("Please lower your voice a little.", "I'll be as loud as I like!")]
ARGUES_THIRD = [("Maybe {he} had a bad day.", "{He} always has a bad day!"), ("I thought {he} was nice.", "Not any more!"), ("$name had the same trouble with {him}.", "That doesn't surprise me."),
                ("{He} was always friendly to me.", "Then you don't know {him}!"), ("Did you shout at {him}?", "Of course I did!")]
ARGUES_THING = [("$name was very happy with it.", "$name is happy with everything!"), ("Maybe you had bad luck.", "No, it's always like that!"), ("Did you tell anybody?", "Nobody listens to me!"),
                ("I've never heard of that.", "Now you have!"), ("Was it always like that?", "No, it gets worse every day!")]

# The angry one's last words after an answer: (sentence, what a summary may add about it). To an offer, to an excuse, to anything else.
ACCEPTS = [("All right, but don't forget it.", "accepts that"), ("Fine. I'll wait for it.", "accepts that"), ("Okay. Thank you.", "thanks HIM"),
           ("Good. That's the least you can do.", "agrees"), ("Well, all right then.", "agrees"), ("I hope so.", None), ("We'll see about that.", None)]
FORGIVES = [("All right. But never again.", "accepts that"), ("Okay. I accept that.", "accepts that"), ("Well, let's forget about it.", "wants to forget about it"), ("I hope you mean it.", None)]
REJECTS = [("I don't believe you.", "does not believe HIM"), ("That's not enough.", "says it is not enough"), ("It's too late for that.", "says it is too late"),
           ("I need some fresh air now.", None), ("Leave me alone now.", "wants to be left alone")]
LEAVES = [("Leave me alone.", "wants to be left alone"), ("I don't want to hear it.", "does not want to hear it"), ("I need some fresh air now.", None), ("Then I'm going home.", "wants to go home"),
          ("I can't believe it.", None)]
# After the listener's advice, after a question, after anything else.
ENDINGS_ADVICE = ["You're right. Thank you for listening.", "I'll think about it.", "That's a good idea.", "Maybe I'll do that.", "I'm not sure about that.", "It's good to talk to you."]
ENDINGS_QUESTION = ["Yes, I did. It didn't help.", "Not yet.", "No, I didn't think of that.", "Yes, twice."]
ENDINGS_OTHER = ["Maybe. But I'm still angry.", "It's good to talk to you.", "We'll see.", "I just had to say it.", "I need some fresh air now."]
LAST = ["Okay. See you later.", "I understand.", "Let's talk again tonight.", "Well, all right.", "I have to go now. $name is waiting at the $place.", "By the way, $name wants to talk to you."]
LAST_COLD = ["Okay.", "I understand.", "Let's talk again tonight.", "Well, all right."]
LAST_FORMAL = ["Have a nice day.", "I understand.", "Thank you.", "Goodbye, then."]
CALM_WORDS = ["Well, these things happen. I'm not angry with you.", "Never mind. It could have happened to me.", "That's a pity, but it's not the end of the world.",
              "Don't worry too much about it. Thank you for being honest.", "It's all right. I'm not upset.", "Oh well. Nobody is perfect, and I'm not angry."]
CALM_ENDINGS = ["That's kind of you.", "Good. Let's do that.", "Thank you, I appreciate it.", "All right. Let's have some tea first.", "You're a good friend."]
CALM_ENDINGS_FORMAL = ["That's very kind of you.", "Good. Let's do that.", "Thank you, I appreciate it."]
