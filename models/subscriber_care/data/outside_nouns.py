"""Nouns of many domains, for requests outside subscriber care."""


def _listed(text: str) -> tuple[str, ...]:
    return tuple(" ".join(item.split()) for item in text.split(","))


NOUNS = {
    "food": _listed(
        """lasagna, pancakes, sourdough bread, sushi, chicken curry, tomato soup, banana bread,
        pizza dough, a cheesecake, fried rice, an omelette, guacamole, roast potatoes, vegan
        chili, tiramisu, paella, meatballs, apple pie, hummus, a birthday cake, scrambled eggs,
        ramen, gluten free bread, iced coffee, a mojito, turkey stuffing, french toast, beef
        stew, salad dressing"""
    ),
    "subject": _listed(
        """photosynthesis, black holes, quantum physics, the roman empire, the french revolution,
        inflation, machine learning, the stock market, gravity, evolution, the cold war, dna,
        blockchain, relativity, climate change, democracy, the big bang, vaccines, plate
        tectonics, the industrial revolution, opera, impressionism, buddhism, volcanoes,
        antibiotics, compound interest, tax brackets, the offside rule, cricket, the moon
        landing, nuclear fusion, dinosaurs, electricity, the water cycle, supply and demand, the
        renaissance, tides, how planes fly, fiber optics, radio waves, how the internet was
        invented, the history of television, undersea cables, how a sim card works inside,
        bluetooth, satellites, encryption"""
    ),
    "person": _listed(
        """napoleon, einstein, shakespeare, the president, cleopatra, mozart, the pope, taylor
        swift, the prime minister, marie curie, gandhi, the king of england, beethoven, elon
        musk, picasso, the inventor of the telephone, alexander graham bell, leonardo da vinci,
        nelson mandela, lionel messi, the first man on the moon, charles darwin, julius caesar,
        ada lovelace"""
    ),
    "body": _listed(
        """a headache, back pain, a sore throat, a fever, a cold, insomnia, a rash, a toothache,
        high blood pressure, hay fever, a sprained ankle, heartburn, anxiety, a migraine, a
        cough, allergies, stomach ache, dizzy spells, a burn, a bee sting"""
    ),
    "task": _listed(
        """my homework, my essay, a cover letter, my resume, a wedding speech, my maths assignment,
        a poem for my wife, a business plan, a love letter, my thesis, a birthday message, a job
        application, an email to my boss, a python script, a sql query, my tax return, a
        presentation, a crossword puzzle, a short story, a workout plan, a shopping list, a
        novel, a complaint to my landlord, a spreadsheet formula, a haiku, song lyrics, a press
        release, a school report"""
    ),
    "event": _listed(
        """the football match, the super bowl, the world cup final, the election, the tennis game,
        the formula one race, last night's game, the oscars, the eurovision, the olympics, the
        concert, the basketball game, the lottery, the cricket"""
    ),
    "thing": _listed(
        """a dog, a cat, a car, a laptop, a bicycle, running shoes, a washing machine, a mattress,
        a coffee machine, a camera, a guitar, a sofa, headphones, a lawn mower, a drone, a tent,
        a watch, a piano, a vacuum cleaner, an electric car, a house, a horse, a fridge, a
        puppy, a boat"""
    ),
    "place": _listed(
        """a restaurant, a pharmacy, a hotel, a gym, a cinema, a petrol station, a supermarket, a
        dentist, the train station, the airport, a coffee shop, a hospital, a bank, a car wash,
        a park, the post office, a vet, a museum, a bakery, a hairdresser, the library, the
        beach"""
    ),
    "language": _listed(
        """spanish, french, german, japanese, italian, latin, russian, arabic, chinese, greek,
        dutch, portuguese, korean, hindi, swedish, polish, turkish, swahili"""
    ),
    "phrase": _listed(
        """good morning, i love you, where is the toilet, thank you very much, how much is it, see
        you tomorrow, happy birthday, my phone is lost, the internet is down, two beers please,
        i am hungry, excuse me, the bill please, what time is it, can you help me, cheers, my
        friend"""
    ),
    "media": _listed(
        """the godfather, star wars, titanic, harry potter, the lord of the rings, breaking bad,
        game of thrones, friends, the matrix, bohemian rhapsody, hamlet, pride and prejudice,
        frozen, jaws, seinfeld, the office, stranger things, the beatles, the mona lisa, moby
        dick"""
    ),
    "chore": _listed(
        """fix a leaking tap, remove a wine stain, change a tyre, tie a tie, train a puppy, grow
        tomatoes, paint a wall, unblock a sink, clean an oven, boil an egg, prune roses, get rid
        of ants, iron a shirt, sharpen a knife, build a shelf, jump start a car, fold a fitted
        sheet, plant a tree, meditate, juggle, whistle, play chess, learn guitar, lose weight,
        save money, invest in shares, write a will, get a mortgage, apply for a visa, renew my
        passport, quit smoking, sleep better, run a marathon, make friends, deal with my boss,
        bake bread"""
    ),
    "other_bill": _listed(
        """electricity, gas, water, hospital, dentist, restaurant, heating, vet, credit card, tax,
        power, grocery, hotel, garage"""
    ),
    "other_pro": _listed(
        """plumber, electrician, dentist, doctor, hairdresser, cleaner, babysitter, lawyer,
        gardener, vet, mechanic, taxi, table for two, massage, tennis court, driving lesson,
        haircut, flight, hotel room, photographer, piano teacher, physiotherapist"""
    ),
    "lost": _listed(
        """keys, wallet, dog, cat, glasses, umbrella, passport, way, job, temper, luggage, ring,
        bag, remote control, mind, patience, sense of humour, credit card, driving licence,
        cat's toy"""
    ),
    "stolen": _listed(
        """car, bike, wallet, bicycle, handbag, passport, laptop, credit card, idea, lunch, purse,
        scooter, heart, suitcase"""
    ),
    "other_cancel": _listed(
        """gym membership, netflix, flight, dentist appointment, hotel booking, magazine
        subscription, dinner reservation, meeting, amazon order, train ticket, doctor's
        appointment, spotify, insurance, credit card, haircut, piano lesson, credit score check,
        wedding"""
    ),
    "other_restart": _listed(
        """my career, my diet, my laptop, my car, the washing machine, my life, the dishwasher,
        windows, my computer, the game, the oven, my playstation, the printer, my heart, the
        boiler, my coffee machine, my smart watch, the meeting, the song"""
    ),
    "other_pause": _listed(
        """the music, the movie, my subscription to the gym, my game, the alarm, the washing
        machine, the podcast, my netflix show, the oven timer, my mortgage, my newspaper
        delivery, the video"""
    ),
    "other_plan": _listed(
        """my plans for tonight, my meal plan, my retirement plan, my training plan, my travel
        plans, my floor plan, my pension plan, my business plan, my lesson plan, my dinner plans"""
    ),
    "other_block": _listed(
        """my ex on facebook, this website, spam emails, my credit card, pop up ads, a number on
        whatsapp, the driveway, the sun, a user on instagram, my drain, the door, youtube ads"""
    ),
    "other_password": _listed(
        """gmail, facebook, netflix, windows, apple id, bank, instagram, laptop, work, bitcoin
        wallet, amazon, the hotel, starbucks, paypal, my neighbour's zoom"""
    ),
    "unit": _listed(
        """miles to kilometres, pounds to kilos, celsius to fahrenheit, cups to grams, feet to
        metres, inches to centimetres, dollars to euros, gallons to litres, euros to yen,
        megabytes to gigabytes, megabits to megabytes, ounces to grams"""
    ),
    "animal": _listed(
        """a goose, whales, my hamster, penguins, a goldfish, horses, wasps, a parrot, sharks, bees,
        foxes, a tortoise, my cat, dogs, spiders, elephants, a rabbit, owls"""
    ),
    "field": _listed(
        """accounting, carpentry, astronomy, medicine, law, marketing, physics, geography, tax,
        gardening, photography, poetry, chemistry, knitting, geology, aviation, economics, history,
        football, golf, yoga, politics, religion, fashion, architecture, wine, chess, sailing"""
    ),
    "made": _listed(
        """a limerick, a haiku, a love letter, a cover letter, a resignation letter, a toast, a
        birthday card, a song, a short story, a wedding speech, a slogan, a complaint to the
        council, an essay, a shopping list, a quiz, a workout plan, a eulogy, a tweet, a resume"""
    ),
    "gift_for": _listed(
        """my dad, my mum, my wife, a teenager, my boss, a wedding, a housewarming, my best friend,
        grandma, my girlfriend, a baby shower, my kids, a teacher, my guests"""
    ),
    "cloth": _listed(
        """a carpet, a white shirt, the sofa, my jeans, a silk tie, the tablecloth, leather shoes, a
        wool jumper"""
    ),
    "stain": _listed("red wine, coffee, blood, grass, ink, chocolate, oil, mud, candle wax"),
    "when": _listed("today, tomorrow, tonight, this weekend, on monday, next week, on friday, "
        "later"),
}  # fmt: skip
