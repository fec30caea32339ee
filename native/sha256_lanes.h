/* SHA-256 of LANES texts at once, each in a lane of a vector. Included once for each width: with LANES, NAME and TARGET,
   the attribute that lets the compiler use instructions which not every processor has. */
#define JOINED(one, other) one##other
#define JOIN(one, other) JOINED(one, other)
#define WORDS JOIN(Words, LANES)

typedef uint32_t WORDS __attribute__((vector_size(4 * LANES)));

#define RIGHT(x, n) (((x) >> (n)) | ((x) << (32 - (n))))

TARGET static void NAME(const uint8_t *const *texts, const size_t *blocks, size_t count, uint8_t *digests) {
    WORDS state[8];
    size_t most = 0;
    for (size_t lane = 0; lane < count; lane++) most = blocks[lane] > most ? blocks[lane] : most;
    for (int place = 0; place < 8; place++) state[place] = (WORDS){0} + FIRST[place];
    for (size_t block = 0; block < most; block++) {
        WORDS w[16];
        uint32_t rows[16][LANES];
        for (size_t lane = 0; lane < LANES; lane++) {
            /* A lane that is done, or that nobody has, goes on with what does not matter. */
            const uint8_t *from = texts[lane < count ? lane : 0];
            if (lane < count && block < blocks[lane]) from += SHA_BLOCK * block;
            for (int place = 0; place < 16; place++) {
                uint32_t word;
                memcpy(&word, from + 4 * place, 4);
                rows[place][lane] = __builtin_bswap32(word);
            }
        }
        memcpy(w, rows, sizeof w);
        WORDS a = state[0], b = state[1], c = state[2], d = state[3];
        WORDS e = state[4], f = state[5], g = state[6], h = state[7];
        for (int round = 0; round < 64; round++) {
            WORDS next = w[round & 15];
            if (round >= 16) {
                WORDS early = w[(round + 1) & 15], late = w[(round + 14) & 15];
                next += (RIGHT(early, 7) ^ RIGHT(early, 18) ^ (early >> 3)) + w[(round + 9) & 15] +
                        (RIGHT(late, 17) ^ RIGHT(late, 19) ^ (late >> 10));
                w[round & 15] = next;
            }
            WORDS one = h + (RIGHT(e, 6) ^ RIGHT(e, 11) ^ RIGHT(e, 25)) + (g ^ (e & (f ^ g))) + ROUNDS[round] + next;
            WORDS two = (RIGHT(a, 2) ^ RIGHT(a, 13) ^ RIGHT(a, 22)) + ((a & b) | (c & (a | b)));
            h = g;
            g = f;
            f = e;
            e = d + one;
            d = c;
            c = b;
            b = a;
            a = one + two;
        }
        WORDS after[8] = {a, b, c, d, e, f, g, h};
        for (int place = 0; place < 8; place++) state[place] += after[place];
        for (size_t lane = 0; lane < count; lane++) {
            if (block + 1 != blocks[lane]) continue;
            for (int place = 0; place < 8; place++) {
                uint32_t word = __builtin_bswap32(state[place][lane]);
                memcpy(digests + 32 * lane + 4 * place, &word, 4);
            }
        }
    }
}

#undef RIGHT
#undef WORDS
#undef JOIN
#undef JOINED
#undef LANES
#undef NAME
#undef TARGET
